package sandbox_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"workflow.uniconnect/pkg/fault"
	crmv1 "workflow.uniconnect/proto/gen/go/uniconnect/crm/v1"
)

func TestCRM_SearchRecords(t *testing.T) {
	t.Parallel()
	r := start(t)
	client := r.crm(r.deps.TokenSource)
	request := func() *crmv1.SearchRecordsRequest {
		return &crmv1.SearchRecordsRequest{Tenant: "acme", Module: "leads", PageSize: 3, Conditions: []*crmv1.Condition{
			{Field: "score", Operator: crmv1.Condition_GREATER_THAN, Value: structpb.NewNumberValue(60)},
			{Field: "status", Value: structpb.NewStringValue("new")},
		}}
	}
	var got []string
	pages := 0
	for req := request(); ; pages++ {
		resp, err := client.SearchRecords(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range resp.GetRecords() {
			got = append(got, rec.GetId())
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	var want []string
	for id := 1013; id <= 1020; id++ { // scores 65 to 100
		want = append(want, fmt.Sprintf("lead-%d", id))
	}
	if diff := cmp.Diff(want, got); diff != "" || pages != 2 {
		t.Errorf("%d further pages, ids (-want +got):\n%s", pages, diff)
	}

	first, err := client.SearchRecords(t.Context(), request())
	if err != nil {
		t.Fatal(err)
	}
	other := request()
	other.Conditions, other.PageToken = nil, first.GetNextPageToken()
	_, err = client.SearchRecords(t.Context(), other)
	wantReason(t, err, fault.KindInvalidArgument, "PAGE_TOKEN")
	bad := request()
	bad.Conditions[0].Operator = crmv1.Condition_IN
	_, err = client.SearchRecords(t.Context(), bad)
	wantReason(t, err, fault.KindInvalidArgument, "INVALID_FIELDS")
	_, err = client.SearchRecords(t.Context(), &crmv1.SearchRecordsRequest{Tenant: "acme", Module: "ships"})
	wantReason(t, err, fault.KindNotFound, "RECORD_NOT_FOUND")
}

func TestCRM_CreateRecord(t *testing.T) {
	t.Parallel()
	r := start(t)
	client := r.crm(r.deps.TokenSource)
	request := func(id string) *crmv1.CreateRecordRequest {
		return &crmv1.CreateRecordRequest{Tenant: "acme", Module: "tasks", RequestId: id, Fields: fields(t, map[string]any{"title": "Call back", "none": nil})}
	}
	// However many attempts come at once, there is one record and one answer.
	const attempts = 8
	answers := make([]*crmv1.Record, attempts)
	var wg sync.WaitGroup
	for i := range attempts {
		wg.Go(func() {
			resp, err := client.CreateRecord(t.Context(), request("e1:task"))
			if err != nil {
				t.Error(err)
			}
			answers[i] = resp.GetRecord()
		})
	}
	wg.Wait()
	for _, a := range answers[1:] {
		if diff := cmp.Diff(answers[0], a, protocmp.Transform()); diff != "" {
			t.Errorf("two attempts were answered differently:\n%s", diff)
		}
	}
	if diff := cmp.Diff(map[string]any{"title": "Call back"}, answers[0].GetFields().AsMap()); diff != "" || answers[0].GetVersion() != 1 {
		t.Errorf("version %d, fields (-want +got):\n%s", answers[0].GetVersion(), diff)
	}
	second, err := client.CreateRecord(t.Context(), request("e2:task"))
	if err != nil || second.GetRecord().GetId() == answers[0].GetId() {
		t.Fatalf("got %v, %v; want another record than %s", second, err, answers[0].GetId())
	}
	list, err := client.SearchRecords(t.Context(), &crmv1.SearchRecordsRequest{Tenant: "acme", Module: "tasks", Conditions: []*crmv1.Condition{
		{Field: "title", Value: structpb.NewStringValue("Call back")}, {Field: "status", Value: structpb.NewNullValue()},
	}})
	if err != nil || len(list.GetRecords()) != 2 {
		t.Errorf("got %v, %v; want the two tasks", list, err)
	}

	_, err = client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
		Tenant: "acme", Module: "tasks", Id: answers[0].GetId(), RequestId: "e1:task", Fields: fields(t, map[string]any{"a": 1}),
	})
	wantReason(t, err, fault.KindFailedPrecondition, "REQUEST_ID_REUSED")
	notes := request("e1:task")
	notes.Module = "notes"
	_, err = client.CreateRecord(t.Context(), notes)
	wantReason(t, err, fault.KindFailedPrecondition, "REQUEST_ID_REUSED")
	ships := request("e3:task")
	ships.Module = "ships"
	_, err = client.CreateRecord(t.Context(), ships)
	wantReason(t, err, fault.KindNotFound, "RECORD_NOT_FOUND")
}

// assigner assigns leads of acme.
type assigner struct {
	t      *testing.T
	client crmv1.CrmServiceClient
}

func (a assigner) try(req *crmv1.AssignRecordRequest) (*crmv1.Record, error) {
	req.Tenant, req.Module = "acme", "leads"
	if req.GetRequestId() == "" {
		req.RequestId = "assign/" + req.GetId()
	}
	resp, err := a.client.AssignRecord(a.t.Context(), req)
	return resp.GetRecord(), err
}

func (a assigner) owner(req *crmv1.AssignRecordRequest) string {
	a.t.Helper()
	r, err := a.try(req)
	if err != nil {
		a.t.Fatal(err)
	}
	owner, _ := r.GetFields().AsMap()["owner"].(string)
	return owner
}

func TestCRM_AssignRecord_in_turn(t *testing.T) {
	t.Parallel()
	r := start(t)
	a := assigner{t, r.crm(r.deps.TokenSource)}
	sales := func(i int) *crmv1.AssignRecordRequest {
		return &crmv1.AssignRecordRequest{Id: fmt.Sprintf("lead-%d", 1001+i), Strategy: crmv1.AssignRecordRequest_ROUND_ROBIN, Group: "sales"}
	}
	var got []string
	for i := range 5 {
		got = append(got, a.owner(sales(i)))
		if again := a.owner(sales(i)); again != got[i] {
			t.Errorf("a repetition gave lead %d to %s, before to %s", i, again, got[i])
		}
	}
	want := []string{"user-100", "user-101", "user-102", "user-103", "user-100"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}

	t.Run("a_refusal_takes_no_turn", func(t *testing.T) {
		_, err := a.try(&crmv1.AssignRecordRequest{Id: "lead-9", Strategy: crmv1.AssignRecordRequest_ROUND_ROBIN, Group: "sales"})
		wantReason(t, err, fault.KindNotFound, "RECORD_NOT_FOUND")
		if got := a.owner(sales(5)); got != "user-101" {
			t.Errorf("got %s, want user-101", got)
		}
	})
	t.Run("each_list_has_its_own_turn", func(t *testing.T) {
		pair := func(i int) *crmv1.AssignRecordRequest {
			return &crmv1.AssignRecordRequest{
				Id: fmt.Sprintf("lead-%d", 1010+i), Strategy: crmv1.AssignRecordRequest_ROUND_ROBIN, Users: []string{"user-107", "user-105"},
			}
		}
		got := []string{a.owner(pair(0)), a.owner(pair(1)), a.owner(pair(2))}
		if diff := cmp.Diff([]string{"user-107", "user-105", "user-107"}, got); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
	})
	t.Run("many_at_once", func(t *testing.T) {
		// Five leads, each asked for three times at once: five turns of five users.
		users := []string{"user-101", "user-102", "user-103", "user-104", "user-105"}
		owners := make([]string, len(users))
		var wg sync.WaitGroup
		for i := range users {
			for range 3 {
				wg.Go(func() {
					_, err := a.try(&crmv1.AssignRecordRequest{
						Id: fmt.Sprintf("lead-%d", 1014+i), Strategy: crmv1.AssignRecordRequest_ROUND_ROBIN, Users: users,
						RequestId: fmt.Sprintf("many/%d", i),
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		for i := range users {
			resp, err := a.client.GetRecord(t.Context(), &crmv1.GetRecordRequest{Tenant: "acme", Module: "leads", Id: fmt.Sprintf("lead-%d", 1014+i)})
			if err != nil {
				t.Fatal(err)
			}
			owners[i], _ = resp.GetRecord().GetFields().AsMap()["owner"].(string)
		}
		slices.Sort(owners)
		if diff := cmp.Diff(users, owners); diff != "" {
			t.Errorf("owners (-want +got):\n%s", diff)
		}
	})
	t.Run("turns_outlive_a_restart", func(t *testing.T) {
		r.stop()
		again := startOn(t, r.settings)
		a := assigner{t, again.crm(again.deps.TokenSource)}
		if got := a.owner(sales(6)); got != "user-102" {
			t.Errorf("got %s, want user-102", got)
		}
	})
}

func TestCRM_AssignRecord(t *testing.T) {
	t.Parallel()
	r := start(t)
	a := assigner{t, r.crm(r.deps.TokenSource)}
	if got := a.owner(&crmv1.AssignRecordRequest{Id: "lead-1001", Strategy: crmv1.AssignRecordRequest_USER, Users: []string{"user-109"}}); got != "user-109" {
		t.Errorf("USER: got %s", got)
	}
	group, err := a.try(&crmv1.AssignRecordRequest{Id: "lead-1002", Strategy: crmv1.AssignRecordRequest_GROUP, Group: "support"})
	if err != nil {
		t.Fatal(err)
	}
	if f := group.GetFields().AsMap(); f["group"] != "support" || f["owner"] != nil {
		t.Errorf("GROUP: got %v, want the group and no owner", f)
	}

	// Every user owned two leads; user-100 lost one to user-109, user-101 one to the group.
	for i, want := range []string{"user-100", "user-101"} {
		req := &crmv1.AssignRecordRequest{Id: fmt.Sprintf("lead-%d", 1003+i*5), Strategy: crmv1.AssignRecordRequest_LEAST_LOADED}
		if got := a.owner(req); got != want {
			t.Errorf("LEAST_LOADED, %s: got %s, want %s", req.GetId(), got, want)
		}
	}
	// Leads that are closed are no load: user-105 has one left, the others of support two.
	_, err = a.client.UpdateRecord(t.Context(), &crmv1.UpdateRecordRequest{
		Tenant: "acme", Module: "leads", Id: "lead-1006", RequestId: "close", Fields: fields(t, map[string]any{"status": "lost"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"user-105", "user-104"} {
		req := &crmv1.AssignRecordRequest{Id: fmt.Sprintf("lead-%d", 1004+i*6), Strategy: crmv1.AssignRecordRequest_LEAST_LOADED, Group: "support"}
		if got := a.owner(req); got != want {
			t.Errorf("LEAST_LOADED of support, %s: got %s, want %s", req.GetId(), got, want)
		}
	}

	for name, c := range map[string]struct {
		req    *crmv1.AssignRecordRequest
		kind   fault.Kind
		reason fault.Reason
	}{
		"no_user":           {&crmv1.AssignRecordRequest{Strategy: crmv1.AssignRecordRequest_USER}, fault.KindInvalidArgument, "INVALID_FIELDS"},
		"two_users":         {&crmv1.AssignRecordRequest{Strategy: crmv1.AssignRecordRequest_USER, Users: []string{"user-100", "user-101"}}, fault.KindInvalidArgument, "INVALID_FIELDS"},
		"nobody":            {&crmv1.AssignRecordRequest{Strategy: crmv1.AssignRecordRequest_USER, Users: []string{"user-1"}}, fault.KindInvalidArgument, "INVALID_FIELDS"},
		"no_strategy":       {&crmv1.AssignRecordRequest{Users: []string{"user-100"}}, fault.KindInvalidArgument, "INVALID_FIELDS"},
		"no_group":          {&crmv1.AssignRecordRequest{Strategy: crmv1.AssignRecordRequest_GROUP}, fault.KindInvalidArgument, "INVALID_FIELDS"},
		"unknown_group":     {&crmv1.AssignRecordRequest{Strategy: crmv1.AssignRecordRequest_GROUP, Group: "x"}, fault.KindNotFound, "RECORD_NOT_FOUND"},
		"users_and_a_group": {&crmv1.AssignRecordRequest{Strategy: crmv1.AssignRecordRequest_ROUND_ROBIN, Group: "sales", Users: []string{"user-100"}}, fault.KindInvalidArgument, "INVALID_FIELDS"},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.Id, c.req.RequestId = "lead-1020", name
			_, err := a.try(c.req)
			wantReason(t, err, c.kind, c.reason)
		})
	}
}
