package postgres

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"workflow.uniconnect/pkg/pgtest"
	"workflow.uniconnect/services/sandbox/internal/record"
	"workflow.uniconnect/services/sandbox/internal/sink"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestQueries_fit_the_schema(t *testing.T) {
	t.Parallel()
	pool := pgtest.Open(t, pgtest.New(t, Migrate), Schema)
	pgtest.PrepareAll(t, pool, map[string]string{
		"getRecord": getRecord, "listRecords": listRecords, "lockRecord": lockRecord, "changeRecord": changeRecord,
		"getAnswer": getAnswer, "insertAnswer": insertAnswer, "lockRequest": lockRequest, "deleteUpdates": deleteUpdates, "deleteRecords": deleteRecords, "deleteTurns": deleteTurns,
		"nextNumber": nextNumber, "createRecord": createRecord, "searchRecords": searchRecords,
		"listUserIDs": listUserIDs, "takeTurn": takeTurn, "lockLoads": lockLoads, "countLoads": countLoads,
		"insertRecord": insertRecord, "insertRequests": insertRequests, "listRequests": listRequests,
		"countRequests": countRequests, "deleteRequests": deleteRequests, "trimRequests": trimRequests,
	})
}

func TestMigrate_keeps_records_that_exist(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t, Migrate)
	store := New(pgtest.Open(t, url, Schema))
	key := record.Key{Tenant: "acme", Module: "leads", ID: "lead-1001"}
	change := record.Change{Key: key, Fields: map[string]any{"status": "contacted"}, RequestID: "r1"}
	if _, err := store.Update(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	got, err := store.Record(t.Context(), key)
	if err != nil || got.Fields["status"] != "contacted" || got.Version != 2 {
		t.Errorf("got %+v, %v; want the changed record", got, err)
	}
}

func TestStore_Trim(t *testing.T) {
	t.Parallel()
	store := New(pgtest.Open(t, pgtest.New(t, Migrate), Schema))
	var all []sink.Request
	for i := range 10 {
		all = append(all, sink.Request{Name: "a", Method: "POST", Path: fmt.Sprint(i), Headers: []byte(`{}`), Body: []byte{0, 255}, Time: time.Now()})
	}
	if err := store.Append(t.Context(), append(all, sink.Request{Name: "b", Headers: []byte(`{}`), Body: []byte{}})); err != nil {
		t.Fatal(err)
	}
	if err := store.Trim(t.Context(), "a", 3); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"a": {"7", "8", "9"}, "b": {""}} {
		var got []string
		err := store.Each(t.Context(), name, 100, func(r sink.Request) error {
			got = append(got, r.Path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
