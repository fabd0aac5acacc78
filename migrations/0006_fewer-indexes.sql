ALTER TABLE "devices" DROP CONSTRAINT "devices_serial_key";--> statement-breakpoint
ALTER TABLE "devices" DROP CONSTRAINT "devices_sole_server_of";--> statement-breakpoint
ALTER TABLE "events" DROP CONSTRAINT "events_device_id_devices_id_fk";
--> statement-breakpoint
DROP INDEX "devices_by_serial_prefix";--> statement-breakpoint
CREATE UNIQUE INDEX "devices_serial_key" ON "devices" USING btree ("serial_key" text_pattern_ops);--> statement-breakpoint
CREATE UNIQUE INDEX "devices_sole_server_of" ON "devices" USING btree ("sole_server_of") WHERE "devices"."sole_server_of" is not null;