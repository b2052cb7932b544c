package referenceloop

import "context"

// maxBatch is the most rows in a statement.
const maxBatch = 512

// batch gathers what comes in while the last statement is under way and hands it to write: the next statement starts when the last one
// has ended, without a timer. It returns when ctx ends.
func batch[T any](ctx context.Context, in <-chan T, write func(context.Context, []T) error) error {
	items := make([]T, 0, maxBatch)
	for {
		select {
		case item := <-in:
			items = append(items[:0], item)
		case <-ctx.Done():
			return nil
		}
	gather:
		for len(items) < maxBatch {
			select {
			case item := <-in:
				items = append(items, item)
			default:
				break gather
			}
		}
		if err := write(ctx, items); err != nil {
			return err
		}
	}
}
