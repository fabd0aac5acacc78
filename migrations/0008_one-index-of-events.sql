DROP INDEX "events_by_device";--> statement-breakpoint
ALTER TABLE "events" DROP CONSTRAINT "events_pkey";--> statement-breakpoint
ALTER TABLE "events" ADD CONSTRAINT "events_device_id_id_pk" PRIMARY KEY("device_id","id");
