-- Of an import's 100,000 devices a foreign key looks up the same few parents 100,000 times, which was a third of its time. These references
-- are kept by the database all the same, for the rows of a statement together (docs/adr/0010-references-by-set.md).
ALTER TABLE "devices" DROP CONSTRAINT "devices_profile_id_profiles_id_fk";
--> statement-breakpoint
ALTER TABLE "devices" DROP CONSTRAINT "devices_cluster_id_clusters_id_fk";
--> statement-breakpoint
ALTER TABLE "identities" DROP CONSTRAINT "identities_device_id_devices_id_fk";
--> statement-breakpoint
CREATE FUNCTION "public"."devices_refer"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM (SELECT DISTINCT profile_id FROM made) m WHERE NOT EXISTS (SELECT FROM public.profiles p WHERE p.id = m.profile_id)) THEN
    RAISE foreign_key_violation USING MESSAGE = 'a device refers to a profile that is not there', TABLE = 'devices', CONSTRAINT = 'devices_profile_id';
  END IF;
  IF EXISTS (SELECT FROM (SELECT DISTINCT cluster_id FROM made WHERE cluster_id IS NOT NULL) m WHERE NOT EXISTS (SELECT FROM public.clusters c WHERE c.id = m.cluster_id)) THEN
    RAISE foreign_key_violation USING MESSAGE = 'a device refers to a cluster that is not there', TABLE = 'devices', CONSTRAINT = 'devices_cluster_id';
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER "devices_refer" AFTER INSERT ON "devices" REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION "public"."devices_refer"();
--> statement-breakpoint
CREATE FUNCTION "public"."device_refers"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM public.profiles p WHERE p.id = NEW.profile_id) THEN
    RAISE foreign_key_violation USING MESSAGE = 'a device refers to a profile that is not there', TABLE = 'devices', CONSTRAINT = 'devices_profile_id';
  END IF;
  IF NEW.cluster_id IS NOT NULL AND NOT EXISTS (SELECT FROM public.clusters c WHERE c.id = NEW.cluster_id) THEN
    RAISE foreign_key_violation USING MESSAGE = 'a device refers to a cluster that is not there', TABLE = 'devices', CONSTRAINT = 'devices_cluster_id';
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER "device_refers" AFTER UPDATE OF "profile_id", "cluster_id" ON "devices" FOR EACH ROW
  WHEN (OLD.profile_id IS DISTINCT FROM NEW.profile_id OR OLD.cluster_id IS DISTINCT FROM NEW.cluster_id) EXECUTE FUNCTION "public"."device_refers"();
--> statement-breakpoint
CREATE FUNCTION "public"."identities_refer"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM made m WHERE NOT EXISTS (SELECT FROM public.devices d WHERE d.id = m.device_id)) THEN
    RAISE foreign_key_violation USING MESSAGE = 'an identity refers to a device that is not there', TABLE = 'identities', CONSTRAINT = 'identities_device_id';
  END IF;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER "identities_refer" AFTER INSERT ON "identities" REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION "public"."identities_refer"();
--> statement-breakpoint
CREATE FUNCTION "public"."stays"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE foreign_key_violation USING MESSAGE = format('%s: rows are not deleted and ids do not change, since others refer to them', TG_TABLE_NAME), TABLE = TG_TABLE_NAME;
END $$;
--> statement-breakpoint
CREATE TRIGGER "devices_stay" BEFORE DELETE ON "devices" FOR EACH ROW EXECUTE FUNCTION "public"."stays"();
--> statement-breakpoint
CREATE TRIGGER "profiles_stay" BEFORE DELETE ON "profiles" FOR EACH ROW EXECUTE FUNCTION "public"."stays"();
--> statement-breakpoint
CREATE TRIGGER "clusters_stay" BEFORE DELETE ON "clusters" FOR EACH ROW EXECUTE FUNCTION "public"."stays"();
--> statement-breakpoint
CREATE TRIGGER "devices_keep_ids" BEFORE UPDATE OF "id" ON "devices" FOR EACH ROW WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION "public"."stays"();
--> statement-breakpoint
CREATE TRIGGER "profiles_keep_ids" BEFORE UPDATE OF "id" ON "profiles" FOR EACH ROW WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION "public"."stays"();
--> statement-breakpoint
CREATE TRIGGER "clusters_keep_ids" BEFORE UPDATE OF "id" ON "clusters" FOR EACH ROW WHEN (OLD.id <> NEW.id) EXECUTE FUNCTION "public"."stays"();
--> statement-breakpoint
CREATE TRIGGER "identities_keep_devices" BEFORE UPDATE OF "device_id" ON "identities" FOR EACH ROW WHEN (OLD.device_id <> NEW.device_id) EXECUTE FUNCTION "public"."stays"();
