package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"workflow.uniconnect/test/stack"
)

const (
	// None of the seeded workflows waits for eventType.
	eventType = "call.segment_ended"
	otherType = "lead.updated"
	bodyBytes = 480
	// typicalNumber is the number for which the POST has exactly bodyBytes bytes.
	typicalNumber = 50000
	// notePadding fills the event's data so that the reference loop's POST has bodyBytes bytes for typicalNumber.
	notePadding = 75
	eventQueue  = "queue-0" // what the matching workflow's filter wants
)

type object = map[string]any

// workflows are the definitions of the work. Of total workflows the first matches, sharing others have the event's type and another
// filter, the rest wait for another type.
func workflows(total, sharing int, filters, target string) ([]object, error) {
	all := make([]object, 0, total)
	for i := range total {
		trigger := object{"eventType": eventType}
		if i > sharing {
			trigger["eventType"] = otherType
		}
		switch filters {
		case "equality":
			trigger["filter"] = object{"rules": object{"op": "ALL", "rules": []object{
				{"field": "event.data.queue", "operator": "EQUALS", "value": fmt.Sprintf("queue-%d", i)},
				{"field": "event.data.talk_ms", "operator": "GREATER_THAN", "value": 1000},
			}}}
		case "range":
			// Nothing to index: each of them is evaluated for each event.
			trigger["filter"] = object{"expression": fmt.Sprintf("event.data.talk_ms >= %d && event.data.talk_ms < %d", 60000+i, 60001+i)}
		default:
			return nil, fmt.Errorf("filters %q: equality or range", filters)
		}
		all = append(all, object{
			"title":   fmt.Sprintf("Bench %04d", i),
			"trigger": object{"event": trigger},
			"steps": []object{{"id": "post", "action": object{"type": "http.request", "params": object{
				"method": "POST", "url": target, "body": postBody("${event.id}", "${event.data.call_id}", bodyBytes),
			}}}},
		})
	}
	return all, nil
}

// postBody is what the target gets: size bytes once the texts are filled in.
func postBody(id, call string, size int) object {
	body := object{"call": "", "id": "", "note": "", "queue": eventQueue}
	text, err := json.Marshal(body)
	if err != nil {
		return body
	}
	filled := len(text) + len(triggerID(typicalNumber)) + len(callID(typicalNumber))
	return object{"call": call, "id": id, "note": strings.Repeat("x", max(0, size-filled)), "queue": eventQueue}
}

func callID(n int) string { return fmt.Sprintf("call-%d", n) }

// event is the data of the event that matches. The reference loop posts it whole, and then its body has bodyBytes bytes too.
func event(n int) ([]byte, error) {
	data := object{
		"call_id": callID(n), "direction": "inbound", "queue": eventQueue, "talk_ms": 60000, "ring_ms": 4200, "hold_ms": 0,
		"from_e164": "+4930000001", "to_e164": "+4930000002", "result": "answered", "end_reason": "hangup", "ended_by": "caller",
		"lead_id": "lead-1001", "agent_extension": "100", "segment_count": 1, "media": "voice", "note": strings.Repeat("x", notePadding),
		"started_at": "2026-01-01T10:00:00Z", "ended_at": "2026-01-01T10:01:04Z",
	}
	return json.Marshal(data)
}

// create makes the workflows over REST and returns the id of the first.
func create(ctx context.Context, client *stack.Client, all []object) (string, error) {
	const parallel = 8
	ids := make([]string, len(all))
	errs := make([]error, parallel)
	var wg sync.WaitGroup
	for worker := range parallel {
		wg.Go(func() {
			for i := worker; i < len(all) && errs[worker] == nil; i += parallel {
				var created struct{ ID, State string }
				errs[worker] = client.Call(ctx, http.MethodPost, "/v1/workflows", all[i], &created)
				if errs[worker] == nil && created.State != "ACTIVE" {
					errs[worker] = fmt.Errorf("workflow %s is %s", created.ID, created.State)
				}
				ids[i] = created.ID
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return "", fmt.Errorf("create workflows: %w", err)
		}
	}
	return ids[0], nil
}
