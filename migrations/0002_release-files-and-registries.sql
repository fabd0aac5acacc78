ALTER TABLE "clusters" ADD COLUMN "registries_sealed" "bytea";--> statement-breakpoint
ALTER TABLE "versions" ADD COLUMN "files" jsonb DEFAULT '{}'::jsonb NOT NULL;