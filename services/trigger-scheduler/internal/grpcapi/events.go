package grpcapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/trigger-scheduler/internal/deadletter"
	"workflow.uniconnect/services/trigger-scheduler/internal/event"
)

// defaultSource is the source of an event that a caller publishes without naming one.
const defaultSource = "urn:uniconnect:api"

// Publisher stores events in the stream.
type Publisher interface {
	// Publish returns when the stream has confirmed m. id tells repeats from new events.
	Publish(ctx context.Context, m *event.Message, id string) (event.Stored, error)
}

// Events serves uniconnect.workflow.v1.TriggerSchedulerService.
type Events struct {
	workflowv1.UnimplementedTriggerSchedulerServiceServer

	Publisher Publisher
	Letters   Letters
	Registry  *event.Registry
	Decoder   *event.Decoder
}

// PublishEvent implements the RPC.
func (s *Events) PublishEvent(ctx context.Context, req *workflowv1.PublishEventRequest) (*workflowv1.PublishEventResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	ev := req.GetEvent()
	typ := event.TypeOf(ev.GetType())
	if !s.Registry.Known(typ) {
		return nil, fault.Invalid(fault.Violation{
			Field: "event.type", Description: "is neither a known event type nor custom.{module}.{event}", Reason: "UNKNOWN_EVENT_TYPE",
		})
	}
	if ev.GetId() == "" && req.GetRequestId() != "" {
		ev = proto.CloneOf(ev)
		ev.Id = req.GetRequestId()
	}
	m, id, err := message(tenant, typ, ev)
	if err != nil {
		return nil, err
	}
	// The decoder that will read the event judges it now, so that nothing is accepted which becomes a dead letter.
	var decoded event.Event
	if problem := s.Decoder.Decode(m, &decoded); problem != nil {
		return nil, refusal(problem)
	}
	stored, err := s.Publisher.Publish(ctx, m, messageID(tenant, decoded.Source, id))
	if err != nil {
		return nil, err
	}
	return &workflowv1.PublishEventResponse{
		Id: strconv.FormatUint(stored.Sequence, 10), EventId: id, Duplicate: stored.Duplicate,
	}, nil
}

// message writes the event in binary mode.
func message(tenant event.Tenant, typ event.Type, ev *workflowv1.CloudEvent) (*event.Message, string, error) {
	id := ev.GetId()
	if id == "" {
		made, err := uuid.NewV7()
		if err != nil {
			return nil, "", fmt.Errorf("make event's id: %w", err)
		}
		id = made.String()
	}
	source := ev.GetSource()
	if source == "" {
		source = defaultSource
	}
	body, err := json.Marshal(ev.GetData().AsInterface())
	if err != nil {
		return nil, "", fault.Invalid(fault.Violation{Field: "event.data", Description: "holds a number that JSON does not have"})
	}
	header := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-id": {encoded(id)}, "ce-type": {string(typ)}, "ce-source": {encoded(source)},
		"content-type": {"application/json"},
	}
	if t := ev.GetTime(); t != nil {
		if !t.IsValid() {
			return nil, "", fault.Invalid(fault.Violation{Field: "event.time", Description: "is not a time"})
		}
		header["ce-time"] = []string{t.AsTime().Format(time.RFC3339Nano)}
	}
	for name, value := range map[string]string{"ce-subject": ev.GetSubject(), "ce-dataschema": ev.GetDataschema()} {
		if value != "" {
			header[name] = []string{encoded(value)}
		}
	}
	return &event.Message{Subject: event.SubjectOf(tenant, typ), Header: header, Body: body, Time: time.Now()}, id, nil
}

// encoded writes a header's value as CloudEvents' bindings do: what is not printable ASCII is percent-encoded. A header cannot hold a
// line's end, so none can be smuggled in.
func encoded(value string) string {
	plain := true
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '%' || c == '"' {
			plain = false
			break
		}
	}
	if plain {
		return value
	}
	return strings.ReplaceAll(url.PathEscape(value), "%2F", "/")
}

// messageID is by what the stream tells a repeat from a new event. It is hashed to a length that fits a header.
func messageID(tenant event.Tenant, source, id string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s/%s", tenant, len(source), source, id))
	return hex.EncodeToString(sum[:16])
}

// refusal tells a caller what the decoder would have set aside.
func refusal(problem *event.Problem) error {
	return fault.Invalid(fault.Violation{Field: "event", Description: problem.Message, Reason: problem.Reason})
}

// ListDeadLetters implements the RPC.
func (s *Events) ListDeadLetters(ctx context.Context, req *workflowv1.ListDeadLettersRequest) (*workflowv1.ListDeadLettersResponse, error) {
	tenant, err := tenantOf(ctx)
	if err != nil {
		return nil, err
	}
	limit := int(req.GetPageSize())
	if limit == 0 {
		limit = defaultPage
	}
	scope := scopeOf(deadLetters, tenant)
	after, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if after != nil && uuid.Validate(string(after)) != nil {
		return nil, listing.ErrPageToken
	}
	letters, more, err := s.Letters.List(ctx, tenant, string(after), limit)
	if err != nil {
		return nil, err
	}
	resp := &workflowv1.ListDeadLettersResponse{DeadLetters: make([]*workflowv1.DeadLetter, len(letters))}
	for i := range letters {
		resp.DeadLetters[i] = letterProto(&letters[i])
	}
	if more {
		resp.NextPageToken = scope.Token([]byte(letters[len(letters)-1].ID))
	}
	return resp, nil
}

func letterProto(l *deadletter.Letter) *workflowv1.DeadLetter {
	headers := make(map[string]string, len(l.Header))
	for name, values := range l.Header {
		headers[name] = strings.Join(values, ", ")
	}
	return &workflowv1.DeadLetter{
		Id: l.ID, Subject: l.Subject, Reason: string(l.Reason), Message: l.Message, EventId: l.EventID,
		CreateTime: timestamppb.New(l.Created), PublishTime: timestamppb.New(l.Published), Headers: headers, Body: l.Body,
	}
}
