package grpcapi

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"log/slog"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	peerv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/peer/v1"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/feed"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// DefinitionEncoder returns what makes definitions of changes; of one that concerns no definition, nil. A stored trigger that cannot be read is logged and starts nothing: one bad
// row must not end the feed of all others.
func DefinitionEncoder(logger *slog.Logger) func(feed.Change) *peerv1.Definition {
	return func(c feed.Change) *peerv1.Definition {
		if c.Kind != feed.Definition {
			return nil
		}
		d := &peerv1.Definition{
			Tenant: string(c.Tenant), WorkflowId: string(c.ID), Title: c.Title, Revision: c.Revision,
			State: workflowv1.Workflow_State(c.State), EffectiveTime: timestamp(c.At), ActiveSinceTime: timestamp(c.ActiveSince),
			HasSteps: c.HasSteps,
		}
		trigger, dateRange := &workflowv1.Trigger{}, &workflowv1.DateRange{}
		for _, part := range []struct {
			text []byte
			msg  proto.Message
		}{{c.Trigger, trigger}, {c.DateRange, dateRange}} {
			if len(part.text) == 0 {
				continue
			}
			if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(part.text, part.msg); err != nil {
				logger.Error("stored configuration cannot be read; the workflow does not start", "error", err,
					"tenant", c.Tenant, "workflow_id", c.ID, "revision", c.Revision)
				d.State = workflowv1.Workflow_INACTIVE
			}
		}
		if len(c.Trigger) > 0 {
			d.Trigger = trigger
		}
		if len(c.DateRange) > 0 {
			d.DateRange = dateRange
		}
		if s := d.GetTrigger().GetSchedule(); s != nil && s.GetTimeZone() == "" {
			s.TimeZone = c.TimeZone
		}
		return d
	}
}

// GetRevision returns the configuration of one revision.
func (s *Definitions) GetRevision(ctx context.Context, req *peerv1.GetRevisionRequest) (*peerv1.GetRevisionResponse, error) {
	w, err := s.deps.Catalog.AtRevision(ctx, workflow.Tenant(req.GetTenant()), workflow.ID(req.GetWorkflowId()), req.GetRevision())
	msg, err := answer(w, err)
	return &peerv1.GetRevisionResponse{Workflow: msg}, err
}

// resumeToken names a position in a feed: 16 bytes of the feed, 8 of the number.
func resumeToken(feedID string, at feed.Seq) string {
	id, err := uuid.Parse(feedID)
	if err != nil {
		return "" // a watcher without a token begins anew, which is right for a feed without an id
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(id[:], uint64(at)))
}

// parseResumeToken returns the position that a token names in the feed of the window, and whether the watcher can go on from there.
func parseResumeToken(token string, window feed.Window) (feed.Seq, bool) {
	bytes, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(bytes) != 24 || uuid.UUID(bytes[:16]).String() != window.Feed {
		return 0, false
	}
	at := feed.Seq(binary.BigEndian.Uint64(bytes[16:]))
	return at, at >= window.Floor && at <= window.Newest
}
