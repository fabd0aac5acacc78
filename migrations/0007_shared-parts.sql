CREATE TABLE "shared_parts" (
	"hash" "bytea" PRIMARY KEY NOT NULL,
	"packed" "bytea" NOT NULL
);
--> statement-breakpoint
ALTER TABLE "enrollments" ADD COLUMN "document_shared" "bytea";