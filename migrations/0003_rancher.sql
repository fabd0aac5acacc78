ALTER TABLE "clusters" ADD COLUMN "rancher_kind" text;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "rancher_manifest_sealed" "bytea";--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "rancher_given_to" text;