package execution

import "time"

// Unfinished is what of a workflow has not ended.
type Unfinished struct {
	Count int
	// Some are those to show, the ones that wait first.
	Some []Standing
}

// Standing is where an execution stands.
type Standing struct {
	ID ID
	// Path is of the newest step that it has recorded; empty before the first.
	Path string
	// WakeTime is when it goes on by itself; zero while it runs or is about to.
	WakeTime time.Time
}
