CREATE TABLE "datastore_logins" (
	"role" text PRIMARY KEY NOT NULL,
	"cluster_id" text NOT NULL,
	"device_id" text NOT NULL,
	"enrollment_id" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"fenced_at" timestamp with time zone,
	"dropped_at" timestamp with time zone,
	CONSTRAINT "datastore_logins_enrollment" UNIQUE("enrollment_id")
);
--> statement-breakpoint
CREATE TABLE "nodes" (
	"cluster_id" text NOT NULL,
	"name" text NOT NULL,
	"device_id" text,
	"enrollment_id" text,
	"source" text NOT NULL,
	"ready" boolean,
	"ready_since" timestamp with time zone,
	"version" text,
	"first_seen_at" timestamp with time zone NOT NULL,
	"seen_at" timestamp with time zone NOT NULL,
	"gone_at" timestamp with time zone,
	CONSTRAINT "nodes_cluster_id_name_pk" PRIMARY KEY("cluster_id","name"),
	CONSTRAINT "nodes_source" CHECK ("nodes"."source" in ('datastore', 'server', 'api'))
);
--> statement-breakpoint
CREATE TABLE "tasks" (
	"id" text PRIMARY KEY NOT NULL,
	"cluster_id" text NOT NULL,
	"verb" text NOT NULL,
	"subject" text NOT NULL,
	"secret_sealed" "bytea",
	"expires_at" timestamp with time zone,
	"enrollment_id" text,
	"created_at" timestamp with time zone NOT NULL,
	"sent_at" timestamp with time zone,
	"attempts" integer DEFAULT 0 NOT NULL,
	"done_at" timestamp with time zone,
	"result" text,
	"reason" text,
	CONSTRAINT "tasks_verb" CHECK ("tasks"."verb" in ('token-create', 'token-delete', 'node-delete', 'node-ban')),
	CONSTRAINT "tasks_result" CHECK ("tasks"."result" in ('ok', 'fail', 'superseded'))
);
--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "state_since" timestamp with time zone DEFAULT now() NOT NULL;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "stuck_reason" text;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "ca_hash_from" text;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "ca_hash_confirmed_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "bootstrap" text;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "observed_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "observe_trouble" text;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "pods_not_running" integer;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "escrow_kubeconfig" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "kubeconfig_sealed" "bytea";--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "kubeconfig_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "access_sealed" "bytea";--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "rancher_sealed" "bytea";--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "load_balancer" jsonb DEFAULT '{}'::jsonb NOT NULL;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "upgrade" jsonb;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "purged_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "enrollments" ADD COLUMN "join_token_id" text;--> statement-breakpoint
ALTER TABLE "enrollments" ADD COLUMN "join_published_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "enrollments" ADD COLUMN "join_published_until" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "enrollments" ADD COLUMN "join_deleted_at" timestamp with time zone;--> statement-breakpoint
ALTER TABLE "datastore_logins" ADD CONSTRAINT "datastore_logins_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "public"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "datastore_logins" ADD CONSTRAINT "datastore_logins_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "nodes_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "public"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "nodes" ADD CONSTRAINT "nodes_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "tasks" ADD CONSTRAINT "tasks_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "public"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "datastore_logins_live" ON "datastore_logins" USING btree ("cluster_id") WHERE "datastore_logins"."dropped_at" is null;--> statement-breakpoint
CREATE INDEX "datastore_logins_by_device" ON "datastore_logins" USING btree ("device_id") WHERE "datastore_logins"."dropped_at" is null;--> statement-breakpoint
CREATE INDEX "nodes_by_device" ON "nodes" USING btree ("device_id") WHERE "nodes"."device_id" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "tasks_live" ON "tasks" USING btree ("cluster_id","verb","subject") WHERE "tasks"."done_at" is null;--> statement-breakpoint
CREATE INDEX "tasks_waiting" ON "tasks" USING btree ("cluster_id","id") WHERE "tasks"."done_at" is null;--> statement-breakpoint
CREATE INDEX "tasks_done" ON "tasks" USING btree ("done_at") WHERE "tasks"."done_at" is not null;