package engine

import "testing"

// Slots that a claim reserved and did not use come free like any other: whoever waits for one in memory must hear of it, or it waits until
// its patience ends.
func TestSlots_SettleClaimTellsWhoWaits(t *testing.T) {
	t.Parallel()
	s := newSlots(4)
	told := 0
	s.onFree = func() { told++ }
	g := s.grantClaim(maxClaim)
	if g.count != 4 || s.reserve("acme") {
		t.Fatalf("grant of %d slots left some for others", g.count)
	}
	s.settleClaim(g, nil)
	if told != 1 || !s.reserve("acme") {
		t.Errorf("told %d times, want once", told)
	}
}

// A tenant whose rows were all claimed no longer keeps the others below half.
func TestSlots_BacklogIsThatOfTheLastClaim(t *testing.T) {
	t.Parallel()
	s := newSlots(4)
	s.settleClaim(s.grantClaim(1), []string{"small"})
	s.release("small")
	s.settleClaim(s.grantClaim(1), []string{"flood"})
	s.enqueue("flood")
	for i := range 3 {
		if !s.reserve("flood") {
			t.Fatalf("slot %d was refused although nobody else waits", i+2)
		}
	}
}
