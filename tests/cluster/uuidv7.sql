-- PostgreSQL before 18 has no uuidv7(): 48 bits of milliseconds, version 7,
-- variant 10, the rest random.
CREATE FUNCTION public.uuidv7() RETURNS uuid LANGUAGE sql VOLATILE AS $f$
  SELECT encode(set_bit(set_bit(
           overlay(uuid_send(gen_random_uuid())
                   placing substring(int8send(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) from 3)
                   from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$f$;
CREATE FUNCTION public.uuid_generate_v7() RETURNS uuid LANGUAGE sql VOLATILE AS 'SELECT public.uuidv7()';
