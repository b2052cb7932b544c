package client

import (
	"context"
	"errors"
	"io"
	"time"

	"workflow.uniconnect/pkg/fault"

	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
)

const (
	// pollEvery is how often something is looked at again at first, maxPoll in the end.
	pollEvery = 100 * time.Millisecond
	maxPoll   = time.Second
	// patience is how long a run that is being followed may be out of sight, as while the system starts anew.
	patience = time.Minute
)

// Ended tells whether a run is over.
func Ended(e *workflowv1.Execution) bool {
	switch e.GetState() {
	case workflowv1.Execution_SUCCEEDED, workflowv1.Execution_FAILED, workflowv1.Execution_CANCELLED:
		return true
	}
	return false
}

// Follow shows a run again and again until it is over, and returns it as it is then. A system that is away for less than a minute is
// waited for: the run goes on when it is back.
func (c *Client) Follow(ctx context.Context, id string, show func(*workflowv1.Execution) error) (*workflowv1.Execution, error) {
	seen := time.Now()
	for every := pollEvery; ; every = min(2*every, maxPoll) {
		answer, err := c.Executor.GetExecution(ctx, &workflowv1.GetExecutionRequest{Id: id})
		switch {
		case err == nil:
			seen = time.Now()
			if e := answer.GetExecution(); Ended(e) {
				return e, show(e)
			} else if err := show(e); err != nil {
				return nil, err
			}
		case !IsAway(err) || time.Since(seen) > patience:
			return nil, err
		}
		if err := pause(ctx, every); err != nil {
			return nil, err
		}
	}
}

// IsAway tells whether an error says that the system did not answer.
func IsAway(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.KindUnavailable || kind == fault.KindDeadlineExceeded
}

// AwaitGone returns when a workflow is gone for good.
func (c *Client) AwaitGone(ctx context.Context, id string) error {
	for every := pollEvery; ; every = min(2*every, maxPoll) {
		_, err := c.Catalog.GetWorkflow(ctx, &workflowv1.GetWorkflowRequest{Id: id})
		if fault.KindOf(err) == fault.KindNotFound {
			return nil
		}
		if err != nil {
			return err
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
}

// Watch hands out changes of workflows as they come, and goes on after a lost connection where it was.
func (c *Client) Watch(ctx context.Context, handle func(*workflowv1.WatchWorkflowsResponse) error) error {
	token, backoff := "", firstBackoff
	for {
		heard, err := c.watchOnce(ctx, &token, handle)
		if fault.KindOf(err) != fault.KindUnavailable {
			return err
		}
		if heard {
			backoff = firstBackoff
		} else if token == "" {
			return err // there never was a connection
		}
		if pause(ctx, backoff) != nil {
			return err
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// watchOnce reads one stream to its end and keeps where it was. A stream that ends without an error is one that was cut.
func (c *Client) watchOnce(ctx context.Context, token *string, handle func(*workflowv1.WatchWorkflowsResponse) error) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.Catalog.WatchWorkflows(ctx, &workflowv1.WatchWorkflowsRequest{ResumeToken: *token})
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return heard, ended(err)
		}
		heard = true
		if err := handle(m); err != nil {
			return heard, err
		}
		*token = m.GetResumeToken()
	}
}

// ended makes the end of a watch, which nobody has asked for, a reason to connect again.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return fault.Unavailable(fault.ReasonServiceUnavailable, "the watch has ended")
	}
	return err
}
