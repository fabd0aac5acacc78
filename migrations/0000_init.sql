CREATE TABLE "admin_tokens" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"hash" "bytea" NOT NULL,
	"scope" text NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "admin_tokens_hash_unique" UNIQUE("hash"),
	CONSTRAINT "admin_tokens_scope" CHECK ("admin_tokens"."scope" in ('read', 'write', 'admin'))
);
--> statement-breakpoint
CREATE TABLE "alarms" (
	"device_id" text NOT NULL,
	"about" text NOT NULL,
	"at" timestamp with time zone NOT NULL,
	CONSTRAINT "alarms_device_id_about_pk" PRIMARY KEY("device_id","about")
);
--> statement-breakpoint
CREATE TABLE "audit" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "audit_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"at" timestamp with time zone NOT NULL,
	"actor" text NOT NULL,
	"action" text NOT NULL,
	"target" text NOT NULL,
	"request_id" text,
	"detail" jsonb
);
--> statement-breakpoint
CREATE TABLE "clusters" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"k3s_version" text NOT NULL,
	"api_endpoint" text,
	"ca_hash" text,
	"allow_unpinned" boolean DEFAULT false NOT NULL,
	"allow_weak_servers" boolean DEFAULT false NOT NULL,
	"datastore_kind" text NOT NULL,
	"datastore_sealed" "bytea" NOT NULL,
	"tls_sans" text[] DEFAULT '{}' NOT NULL,
	"settings" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"server_token_sealed" "bytea" NOT NULL,
	"state" text DEFAULT 'virgin' NOT NULL,
	"initializer_device_id" text,
	"initializer_until" timestamp with time zone,
	"version" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	"deleted_at" timestamp with time zone,
	CONSTRAINT "clusters_state" CHECK ("clusters"."state" in ('virgin', 'initializing', 'up', 'stuck', 'compromised')),
	CONSTRAINT "clusters_datastore_kind" CHECK ("clusters"."datastore_kind" in ('managed', 'sqlite', 'postgres', 'mysql', 'etcd', 'embedded-etcd'))
);
--> statement-breakpoint
CREATE TABLE "devices" (
	"id" text PRIMARY KEY NOT NULL,
	"serial" text NOT NULL,
	"serial_key" text NOT NULL,
	"profile_id" text NOT NULL,
	"cluster_id" text,
	"role" text,
	"hostname" text,
	"hostname_given" boolean DEFAULT false NOT NULL,
	"uuid" text,
	"note" text DEFAULT '' NOT NULL,
	"labels" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"vars" jsonb DEFAULT '{}'::jsonb NOT NULL,
	"macs" text[] DEFAULT '{}' NOT NULL,
	"min_assurance" text,
	"state" text DEFAULT 'registered' NOT NULL,
	"state_since" timestamp with time zone NOT NULL,
	"failure" text,
	"assurance" text,
	"reenroll_granted" boolean DEFAULT false NOT NULL,
	"must_rejoin" boolean DEFAULT false NOT NULL,
	"sole_server_of" text,
	"armed_until" timestamp with time zone,
	"version" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	CONSTRAINT "devices_serial_key" UNIQUE("serial_key"),
	CONSTRAINT "devices_sole_server_of" UNIQUE("sole_server_of"),
	CONSTRAINT "devices_hostname" UNIQUE("cluster_id","hostname"),
	CONSTRAINT "devices_state" CHECK ("devices"."state" in ('registered', 'pending', 'enrolled', 'installing', 'joined', 'ready', 'failed', 'revoked', 'retired')),
	CONSTRAINT "devices_role" CHECK ("devices"."role" in ('server', 'agent')),
	CONSTRAINT "devices_min_assurance" CHECK ("devices"."min_assurance" in ('network', 'bearer', 'key', 'hardware'))
);
--> statement-breakpoint
CREATE TABLE "enrollments" (
	"id" text PRIMARY KEY NOT NULL,
	"device_id" text NOT NULL,
	"cluster_id" text NOT NULL,
	"profile_id" text NOT NULL,
	"profile_revision" integer NOT NULL,
	"role" text NOT NULL,
	"hostname" text NOT NULL,
	"assurance" text NOT NULL,
	"thumbprint" text,
	"claim_hash" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"document_type" text NOT NULL,
	"document_digest" text NOT NULL,
	"document_sealed" "bytea",
	"document_redacted" text,
	"join_hash" "bytea" NOT NULL,
	"join_sealed" "bytea",
	"join_expires_at" timestamp with time zone NOT NULL,
	"redeemed_by" text,
	"redeemed_at" timestamp with time zone,
	"report_hash" "bytea" NOT NULL,
	"report_expires_at" timestamp with time zone NOT NULL,
	"report_count" integer DEFAULT 0 NOT NULL,
	"node_hash" "bytea",
	"last_step" text,
	"last_result" text,
	"last_detail" text,
	"last_step_at" timestamp with time zone,
	"applied_at" timestamp with time zone,
	"joined_at" timestamp with time zone,
	"ready_at" timestamp with time zone,
	"observed" boolean DEFAULT false NOT NULL,
	"ended_at" timestamp with time zone,
	"end_reason" text,
	CONSTRAINT "enrollments_report_hash" UNIQUE("report_hash")
);
--> statement-breakpoint
CREATE TABLE "events" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "events_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"device_id" text NOT NULL,
	"enrollment_id" text,
	"at" timestamp with time zone NOT NULL,
	"source" text NOT NULL,
	"name" text NOT NULL,
	"result" text,
	"detail" jsonb
);
--> statement-breakpoint
CREATE TABLE "idempotency" (
	"token_id" text NOT NULL,
	"route" text NOT NULL,
	"key" text NOT NULL,
	"body_hash" "bytea" NOT NULL,
	"status" integer,
	"response" text,
	"headers" jsonb,
	"created_at" timestamp with time zone NOT NULL,
	CONSTRAINT "idempotency_token_id_route_key_pk" PRIMARY KEY("token_id","route","key")
);
--> statement-breakpoint
CREATE TABLE "identities" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "identities_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"device_id" text NOT NULL,
	"kind" text DEFAULT 'key' NOT NULL,
	"thumbprint" text NOT NULL,
	"jwk" jsonb,
	"created_at" timestamp with time zone NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "identities_kind" CHECK ("identities"."kind" in ('key'))
);
--> statement-breakpoint
CREATE TABLE "profile_revisions" (
	"profile_id" text NOT NULL,
	"revision" integer NOT NULL,
	"spec" jsonb NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"created_by" text NOT NULL,
	CONSTRAINT "profile_revisions_profile_id_revision_pk" PRIMARY KEY("profile_id","revision")
);
--> statement-breakpoint
CREATE TABLE "profiles" (
	"id" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"revision" integer NOT NULL,
	"created_at" timestamp with time zone NOT NULL,
	"updated_at" timestamp with time zone NOT NULL,
	"deleted_at" timestamp with time zone
);
--> statement-breakpoint
CREATE TABLE "redeemed_nonces" (
	"nonce" text PRIMARY KEY NOT NULL,
	"used_in" "bytea" NOT NULL,
	"redeemed_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "sealing_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"check_value" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"name" text PRIMARY KEY NOT NULL,
	"sealed" "bytea" NOT NULL,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "versions" (
	"version" text PRIMARY KEY NOT NULL,
	"artifacts" jsonb NOT NULL,
	"install_script" jsonb NOT NULL,
	"created_at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "alarms" ADD CONSTRAINT "alarms_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "devices" ADD CONSTRAINT "devices_profile_id_profiles_id_fk" FOREIGN KEY ("profile_id") REFERENCES "public"."profiles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "devices" ADD CONSTRAINT "devices_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "public"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "enrollments" ADD CONSTRAINT "enrollments_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "enrollments" ADD CONSTRAINT "enrollments_cluster_id_clusters_id_fk" FOREIGN KEY ("cluster_id") REFERENCES "public"."clusters"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "events" ADD CONSTRAINT "events_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "identities" ADD CONSTRAINT "identities_device_id_devices_id_fk" FOREIGN KEY ("device_id") REFERENCES "public"."devices"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "profile_revisions" ADD CONSTRAINT "profile_revisions_profile_id_profiles_id_fk" FOREIGN KEY ("profile_id") REFERENCES "public"."profiles"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "admin_tokens_live_name" ON "admin_tokens" USING btree ("name") WHERE "admin_tokens"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "audit_by_target" ON "audit" USING btree ("target","id");--> statement-breakpoint
CREATE UNIQUE INDEX "clusters_live_name" ON "clusters" USING btree ("name") WHERE "clusters"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "devices_by_state" ON "devices" USING btree ("state","id");--> statement-breakpoint
CREATE INDEX "devices_by_cluster" ON "devices" USING btree ("cluster_id","id");--> statement-breakpoint
CREATE INDEX "devices_by_profile" ON "devices" USING btree ("profile_id","id");--> statement-breakpoint
CREATE INDEX "devices_by_serial_prefix" ON "devices" USING btree ("serial_key" text_pattern_ops);--> statement-breakpoint
CREATE UNIQUE INDEX "enrollments_live_device" ON "enrollments" USING btree ("device_id") WHERE "enrollments"."ended_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "enrollments_join_hash" ON "enrollments" USING btree ("join_hash");--> statement-breakpoint
CREATE UNIQUE INDEX "enrollments_node_hash" ON "enrollments" USING btree ("node_hash") WHERE "enrollments"."node_hash" is not null;--> statement-breakpoint
CREATE INDEX "enrollments_by_device" ON "enrollments" USING btree ("device_id","id");--> statement-breakpoint
CREATE INDEX "enrollments_by_cluster" ON "enrollments" USING btree ("cluster_id","id");--> statement-breakpoint
CREATE INDEX "events_by_device" ON "events" USING btree ("device_id","id");--> statement-breakpoint
CREATE INDEX "idempotency_by_time" ON "idempotency" USING btree ("created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "identities_live_thumbprint" ON "identities" USING btree ("thumbprint") WHERE "identities"."ended_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "identities_live_device" ON "identities" USING btree ("device_id") WHERE "identities"."ended_at" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "profiles_live_name" ON "profiles" USING btree ("name") WHERE "profiles"."deleted_at" is null;--> statement-breakpoint
CREATE INDEX "redeemed_nonces_by_time" ON "redeemed_nonces" USING btree ("redeemed_at");