package remains_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"workflow.uniconnect/pkg/natstest"
	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/test/remains"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// forms are the ways in which a program may keep an id.
func forms(id uuid.UUID) map[string]string {
	return map[string]string{
		"text":            "x" + id.String() + "x",
		"upper_case":      strings.ToUpper(id.String()),
		"without_hyphens": hex.EncodeToString(id[:]),
		"bytes":           "\x01" + string(id[:]) + "\x02",
		"base64":          base64.StdEncoding.EncodeToString(id[:]),
		"base64_inside":   base64.URLEncoding.EncodeToString([]byte("ab" + string(id[:]) + "c")),
		"base64_of_text":  base64.StdEncoding.EncodeToString([]byte("a" + id.String() + "bc")),
	}
}

func TestRows(t *testing.T) {
	t.Parallel()
	db := pgtest.Open(t, pgtest.New(t, nil), "public")
	if _, err := remains.Rows(t.Context(), db, uuid.NewString()); err == nil {
		t.Error("an empty database was searched without complaint")
	}
	for i := range 10 {
		sql := fmt.Sprintf(`CREATE SCHEMA s%d; CREATE TABLE s%[1]d.t (a bigint, b text, c bytea, d jsonb, e uuid, f uuid[])`, i)
		if _, err := db.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	find := func(id uuid.UUID) remains.Places {
		t.Helper()
		found, err := remains.Rows(t.Context(), db, id.String())
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := remains.Places{"s3.t": 1}
	for name := range forms(uuid.Nil) {
		for column, sql := range map[string]string{
			"bytea": `INSERT INTO s3.t (c) VALUES ($1)`,
			"text":  `INSERT INTO s3.t (b) VALUES (convert_from($1::bytea, 'UTF8'))`,
			"json":  `INSERT INTO s3.t (d) VALUES (jsonb_build_object('deep', jsonb_build_array(convert_from($1::bytea, 'UTF8'))))`,
		} {
			if column != "bytea" && name == "bytes" {
				continue // no text holds them
			}
			t.Run(name+"_in_"+column, func(t *testing.T) {
				id := uuid.New()
				if found := find(id); len(found) != 0 {
					t.Errorf("before: found %v", found)
				}
				if _, err := db.Exec(t.Context(), sql, []byte(forms(id)[name])); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, find(id)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
	t.Run("uuid", func(t *testing.T) {
		one, other := uuid.New(), uuid.New()
		if _, err := db.Exec(t.Context(), `INSERT INTO s3.t (e, f) VALUES ($1, ARRAY[$2::uuid])`, one, other); err != nil {
			t.Fatal(err)
		}
		for _, id := range []uuid.UUID{one, other} {
			if diff := cmp.Diff(want, find(id)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
	})
}

func TestMessages(t *testing.T) {
	t.Parallel()
	js := natstest.New(t).JetStream()
	ctx := t.Context()
	find := func(id uuid.UUID) remains.Places {
		t.Helper()
		found, err := remains.Messages(ctx, js, id.String())
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"e.>"}})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "bucket"})
	if err != nil {
		t.Fatal(err)
	}
	inEvents, inBucket := remains.Places{"stream EVENTS": 1}, remains.Places{"stream KV_bucket": 1}
	plants := map[string]struct {
		plant func(id uuid.UUID) error
		want  remains.Places
	}{
		"subject": {func(id uuid.UUID) error { _, err := js.Publish(ctx, "e."+id.String(), nil); return err }, inEvents},
		"header": {func(id uuid.UUID) error {
			_, err := js.PublishMsg(ctx, &nats.Msg{Subject: "e.x", Header: nats.Header{"X": {"a", id.String()}}})
			return err
		}, inEvents},
		"bucket_key":   {func(id uuid.UUID) error { _, err := bucket.Put(ctx, id.String(), nil); return err }, inBucket},
		"bucket_value": {func(id uuid.UUID) error { _, err := bucket.Put(ctx, "key-"+uuid.NewString(), id[:]); return err }, inBucket},
		"consumer": {func(id uuid.UUID) error {
			_, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", FilterSubject: "e." + id.String()})
			return err
		}, inEvents},
	}
	for name := range forms(uuid.Nil) {
		plants["body_"+name] = struct {
			plant func(id uuid.UUID) error
			want  remains.Places
		}{func(id uuid.UUID) error { _, err := js.Publish(ctx, "e.x", []byte(forms(id)[name])); return err }, inEvents}
	}
	for name, tc := range plants {
		t.Run(name, func(t *testing.T) {
			id := uuid.New()
			if found := find(id); len(found) != 0 {
				t.Errorf("before: found %v", found)
			}
			if err := tc.plant(id); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, find(id)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
