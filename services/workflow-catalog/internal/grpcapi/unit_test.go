package grpcapi

import (
	"context"
	"errors"
	"math"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parse reads a workflow as people write it.
func parse(t *testing.T, text string) *workflowv1.Workflow {
	t.Helper()
	w := &workflowv1.Workflow{}
	if err := protojson.Unmarshal([]byte(text), w); err != nil {
		t.Fatal(err)
	}
	return w
}

func fieldsOf(violations []fault.Violation) []string {
	var out []string
	for _, v := range violations {
		out = append(out, v.Field)
	}
	slices.Sort(out)
	return out
}

func TestMerge(t *testing.T) {
	const current = `{"id":"x","title":"Old","description":"D","state":"ACTIVE","revision":4,
		"trigger":{"event":{"eventType":"call.ended","filter":{"expression":"true"},"dedupeKey":"k"}},
		"dateRange":{"startTime":"2026-01-01T00:00:00Z","endTime":"2027-01-01T00:00:00Z"},
		"steps":[{"id":"a","stop":{}}],"settings":{"stepTimeout":"5s"}}`
	const rest = `"id":"x","state":"ACTIVE","revision":4,`
	const trigger = `"trigger":{"event":{"eventType":"call.ended","filter":{"expression":"true"},"dedupeKey":"k"}},`
	const dates = `"dateRange":{"startTime":"2026-01-01T00:00:00Z","endTime":"2027-01-01T00:00:00Z"},`
	const steps = `"steps":[{"id":"a","stop":{}}],`
	const settings = `"settings":{"stepTimeout":"5s"}`
	cases := map[string]struct {
		patch string
		paths []string
		want  string // empty: refused with the fields below
		wrong []string
	}{
		"no_mask_takes_what_is_given": {
			`{"title":"New","steps":[]}`, nil, `{` + rest + `"title":"New","description":"D",` + trigger + dates + steps + settings + `}`, nil,
		},
		"snake_and_camel_clear_what_is_not_given": {
			`{}`, []string{"date_range", "description"}, `{` + rest + `"title":"Old",` + trigger + steps + settings + `}`, nil,
		},
		"camel": {`{}`, []string{"dateRange"}, `{` + rest + `"title":"Old","description":"D",` + trigger + steps + settings + `}`, nil},
		"list_is_replaced": {
			`{"steps":[]}`, []string{"steps"}, `{` + rest + `"title":"Old","description":"D",` + trigger + dates + settings + `}`, nil,
		},
		"leaf_of_the_same_kind": {
			`{"trigger":{"event":{"eventType":"lead.created"}}}`, []string{"trigger.event.event_type"},
			`{` + rest + `"title":"Old","description":"D",` + strings.Replace(trigger, "call.ended", "lead.created", 1) + dates + steps + settings + `}`, nil,
		},
		"leaf_of_another_kind": {
			`{"trigger":{"schedule":{"cron":"0 0 * * *"}}}`, []string{"trigger.schedule.cron"},
			`{` + rest + `"title":"Old","description":"D","trigger":{"schedule":{"cron":"0 0 * * *"}},` + dates + steps + settings + `}`, nil,
		},
		"leaf_that_is_cleared": {
			`{}`, []string{"dateRange.endTime"},
			`{` + rest + `"title":"Old","description":"D",` + trigger + `"dateRange":{"startTime":"2026-01-01T00:00:00Z"},` + steps + settings + `}`, nil,
		},
		"leaf_of_what_neither_has": {`{}`, []string{"trigger.schedule.time_zone"}, current, nil},
		"star": {
			`{"title":"New","trigger":{"manual":{}}}`, []string{"*"}, `{` + rest + `"title":"New","trigger":{"manual":{}}}`, nil,
		},
		"output_only_is_ignored": {`{"revision":9,"createUser":"me"}`, []string{"revision", "createUser", "etag"}, current, nil},
		"state_that_is_the_same": {`{"state":"ACTIVE","title":"Old"}`, nil, current, nil},
		"state_that_differs":     {`{"state":"INACTIVE"}`, nil, "", []string{"state"}},
		"unknown_paths":          {`{}`, []string{"titel", "steps.id", "title.x", "", "trigger..event"}, "", []string{"updateMask", "updateMask", "updateMask", "updateMask", "updateMask"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := parse(t, current)
			got, found := merge(before, parse(t, c.patch), c.paths)
			if diff := cmp.Diff(c.wrong, fieldsOf(found)); diff != "" {
				t.Errorf("violations (-want +got):\n%s", diff)
			}
			if c.want != "" {
				if diff := cmp.Diff(parse(t, c.want), got, protocmp.Transform()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(parse(t, current), before, protocmp.Transform()); diff != "" {
				t.Errorf("the current workflow was changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnstorable(t *testing.T) {
	deep := structpb.NewStringValue("x")
	for range 400 {
		deep = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{deep}})
	}
	w := &workflowv1.Workflow{
		Title:     "a\x00",
		DateRange: &workflowv1.DateRange{StartTime: &timestamppb.Timestamp{Seconds: math.MaxInt64}, EndTime: timestamppb.Now()},
		Steps: []*workflowv1.Step{
			{Id: "good", Kind: &workflowv1.Step_Set{Set: &workflowv1.SetStep{Variables: map[string]string{"n": "1", "m": "\x00"}}}},
			{Timeout: &durationpb.Duration{Seconds: math.MaxInt64}},
			{Kind: &workflowv1.Step_Action{Action: &workflowv1.ActionStep{Params: &structpb.Struct{Fields: map[string]*structpb.Value{
				"nan": structpb.NewNumberValue(math.NaN()), "inf": structpb.NewNumberValue(math.Inf(1)), "ok": structpb.NewNumberValue(1),
				"kind": {}, "null": structpb.NewNullValue(),
				"list": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("ok"), structpb.NewStringValue("\x00")}}),
			}}}}},
		},
	}
	want := []string{
		"dateRange.startTime", "steps[0].set.variables[\"m\"]", "steps[1].timeout", "steps[2].action.params.inf",
		"steps[2].action.params.kind", "steps[2].action.params.list[1]", "steps[2].action.params.nan", "title",
	}
	if diff := cmp.Diff(want, fieldsOf(unstorable(w))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w = &workflowv1.Workflow{Steps: []*workflowv1.Step{{Kind: &workflowv1.Step_Action{Action: &workflowv1.ActionStep{
		Params: &structpb.Struct{Fields: map[string]*structpb.Value{"deep": deep}}}}}}}
	if got := unstorable(w); len(got) != 1 || !strings.Contains(got[0].Description, "nests deeper") {
		t.Errorf("deep nesting: got %v", got)
	}
}

func TestPosition(t *testing.T) {
	const id = "0198c0de-0000-7000-8000-000000000001"
	noon := time.Date(2026, 1, 1, 12, 0, 0, 1000, time.UTC)
	for order, want := range map[workflow.OrderBy]workflow.Position{
		workflow.ByCreateTime: {ID: id, Time: noon},
		workflow.ByTitle:      {ID: id, Title: "ärger"},
	} {
		b := positionBytes(order, want)
		got, err := positionOf(order, b)
		if err != nil || *got != want {
			t.Errorf("order %d: got %v, %v; want %v", order, got, err, want)
		}
		if _, err := positionOf(order, b[:10]); err == nil {
			t.Errorf("order %d: half an id is accepted", order)
		}
	}
	head := positionBytes(workflow.ByTitle, workflow.Position{ID: id})
	for name, forged := range map[string]struct {
		order workflow.OrderBy
		rest  string
	}{
		"short_time": {workflow.ByUpdateTime, "1234"}, "long_time": {workflow.ByUpdateTime, "123456789"},
		"year_0": {workflow.ByUpdateTime, "\x80\x00\x00\x00\x00\x00\x00\x00"}, "year_200000": {workflow.ByUpdateTime, "\x70\x00\x00\x00\x00\x00\x00\x00"},
		"nul": {workflow.ByTitle, "a\x00b"}, "not_utf8": {workflow.ByTitle, "a\xff"},
	} {
		if _, err := positionOf(forged.order, append(slices.Clone(head), forged.rest...)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAddressOf(t *testing.T) {
	from := peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP("::ffff:10.0.0.9"), Port: 4711}})
	for name, c := range map[string]struct {
		headers []string
		want    string
	}{
		"peer":      {nil, "10.0.0.9"},
		"last_hop":  {[]string{"x-forwarded-for", "198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		"ipv6":      {[]string{"x-forwarded-for", "2001:db8::1"}, "2001:db8::1"},
		"no_addr":   {[]string{"x-forwarded-for", "203.0.113.7, <script>"}, "10.0.0.9"},
		"with_port": {[]string{"x-forwarded-for", "203.0.113.7:80"}, "10.0.0.9"},
	} {
		if got := addressOf(metadata.NewIncomingContext(from, metadata.Pairs(c.headers...))); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	agent := metadata.Pairs("user-agent", "grpc-go/1", "grpcgateway-user-agent", "curl/8\x00\n"+strings.Repeat("é", 200))
	if got := agentOf(metadata.NewIncomingContext(from, agent)); !strings.HasPrefix(got, "curl/8  é") || len(got) > 256 || !utf8.ValidString(got) {
		t.Errorf("agent: got %q", got)
	}
}

func TestResumeToken(t *testing.T) {
	const id = "0198c0de-0000-4000-8000-000000000001"
	window := feed.Window{Feed: id, Floor: 10, Newest: 20}
	for name, c := range map[string]struct {
		token string
		at    feed.Seq
		ok    bool
	}{
		"now":        {resumeToken(id, 20), 20, true},
		"oldest":     {resumeToken(id, 10), 10, true},
		"too_old":    {resumeToken(id, 9), 9, false},
		"future":     {resumeToken(id, 21), 21, false},
		"other_feed": {resumeToken("0198c0de-0000-4000-8000-000000000002", 15), 0, false},
		"empty":      {"", 0, false},
		"garbage":    {"resume!", 0, false},
	} {
		if at, ok := parseResumeToken(c.token, window); at != c.at || ok != c.ok {
			t.Errorf("%s: got %d %v, want %d %v", name, at, ok, c.at, c.ok)
		}
	}
}

// stuckStream is a watcher that takes nothing until its stream is cancelled.
type stuckStream struct {
	grpc.ServerStream
	ctx      context.Context
	returned chan struct{} // closed when the handler has returned
	sends    atomic.Int32
}

func (s *stuckStream) Context() context.Context { return s.ctx }

func (s *stuckStream) Send(*peerv1.WatchDefinitionsResponse) error {
	s.sends.Add(1)
	<-s.returned
	return context.Canceled
}

// snapshots is a source with one workflow and nothing after it.
type snapshots struct{}

func (snapshots) Changes(context.Context, feed.Seq, int) (feed.Window, []feed.Change, error) {
	return feed.Window{Feed: "0198c0de-0000-4000-8000-000000000001", AsOf: time.Now()}, nil, nil
}

func (s snapshots) Snapshot(ctx context.Context, _ int, yield func([]feed.Change) error) (feed.Window, error) {
	window, _, err := s.Changes(ctx, 0, 0)
	if err != nil {
		return feed.Window{}, err
	}
	return window, yield([]feed.Change{{ID: "w"}})
}

func TestDefinitions_WatchDefinitions_ends_a_watch_that_is_stuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewDefinitions(DefinitionDeps{Source: snapshots{}, Encode: func(feed.Change) Fed { return Fed{definition: &peerv1.Definition{}} }})
		stream := &stuckStream{ctx: t.Context(), returned: make(chan struct{})}
		begin := time.Now()
		err := s.WatchDefinitions(&peerv1.WatchDefinitionsRequest{}, stream)
		if !errors.Is(err, errSlow) || time.Since(begin) != sendLimit || stream.sends.Load() != 1 {
			t.Errorf("got %v after %v and %d sends, want %v after %v and 1", err, time.Since(begin), stream.sends.Load(), errSlow, sendLimit)
		}
		if s.Watchers() != 0 {
			t.Errorf("watchers: got %d, want 0", s.Watchers())
		}
		close(stream.returned)
		s.Wait()
	})
}
