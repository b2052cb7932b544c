package execution

import (
	"bytes"
	"testing"
	"time"
)

func TestID_Time(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 23, 59, 59, 999_999_999, time.UTC)
	got := NewID(at).Time()
	if d := at.Sub(got); d < 0 || d > time.Microsecond {
		t.Errorf("got %v, want %v within a microsecond", got, at)
	}
	before, after := NewID(at), NewID(at.Add(time.Microsecond))
	if bytes.Compare(before[:], after[:]) >= 0 {
		t.Errorf("ids %s and %s are not in the order of their times", before, after)
	}
	if floor := FloorID(at); bytes.Compare(floor[:], before[:]) > 0 {
		t.Errorf("floor %s is above %s", floor, before)
	}
}
