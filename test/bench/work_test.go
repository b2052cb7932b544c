package bench

import (
	"encoding/json"
	"testing"

	"workflow.uniconnect/test/referenceloop"
)

func TestBodies_haveTheSameSize(t *testing.T) {
	data, err := event(typicalNumber)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := referenceloop.Encode(triggerID(typicalNumber), data)
	if err != nil {
		t.Fatal(err)
	}
	if len(reference) != bodyBytes {
		t.Errorf("the reference loop posts %d bytes, want %d: change notePadding by %d", len(reference), bodyBytes, bodyBytes-len(reference))
	}
	own, err := json.Marshal(postBody(triggerID(typicalNumber), callID(typicalNumber), bodyBytes))
	if err != nil {
		t.Fatal(err)
	}
	if len(own) != bodyBytes {
		t.Errorf("the product posts %d bytes, want %d", len(own), bodyBytes)
	}
	if n, ok := number(own); !ok || n != typicalNumber {
		t.Errorf("number of our body: %d, %v", n, ok)
	}
	if n, ok := number(reference); !ok || n != typicalNumber {
		t.Errorf("number of the reference loop's body: %d, %v", n, ok)
	}
}

func TestWorkflows_matchOnce(t *testing.T) {
	all, err := workflows(1000, 200, "equality", "http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[any]int)
	for _, w := range all {
		trigger, _ := w["trigger"].(object)
		kind, _ := trigger["event"].(object)
		types[kind["eventType"]]++
	}
	if types[eventType] != 201 || types[otherType] != 799 {
		t.Errorf("workflows by event type: %v, want 1 + 200 of %s and the rest of another", types, eventType)
	}
}
