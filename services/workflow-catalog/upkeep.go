package catalog

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/metric"

	"workflow.uniconnect/services/workflow-catalog/internal/audit"
	"workflow.uniconnect/services/workflow-catalog/internal/postgres"
)

const (
	upkeepInterval = time.Hour
	// A watcher that was away for longer begins with a snapshot.
	keepChanges    = 7 * 24 * time.Hour
	keepRequests   = 7 * 24 * time.Hour
	keepTombstones = 30 * 24 * time.Hour
	// Events are kept for 7 days, and whoever handles one has to know what the gate was when it was published.
	keepGates = 8 * 24 * time.Hour
)

// upkeep drops what has been kept long enough, and lists what a program of the release before has changed, now and then.
func (s *Service) upkeep(ctx context.Context) error {
	ticker := time.NewTicker(upkeepInterval)
	defer ticker.Stop()
	for {
		if n, err := s.store.Relist(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Telemetry.Logger.WarnContext(ctx, "some workflows are listed as they were", "error", err)
		} else if n > 0 {
			s.cfg.Telemetry.Logger.InfoContext(ctx, "workflows are listed that the release before has changed", "workflows", n)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		keep := postgres.Retention{Changes: keepChanges, Requests: keepRequests, Tombstones: keepTombstones, Gates: keepGates}
		if err := s.store.Prune(ctx, keep); err != nil && ctx.Err() == nil {
			s.cfg.Telemetry.Logger.WarnContext(ctx, "old rows stay for another round", "error", err)
		}
	}
}

// observe registers the service's metrics, and returns the record of refusals, which counts what it loses.
func (s *Service) observe() (*audit.Refusals, error) {
	meter := s.cfg.Telemetry.Meter("workflow.uniconnect/services/workflow-catalog")
	watchers, err := meter.Int64ObservableGauge("uc.catalog.watchers", metric.WithDescription("Open watches of definitions"))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	onlookers, err := meter.Int64ObservableGauge("uc.catalog.onlookers", metric.WithDescription("Open watches of workflows"))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	lag, err := meter.Float64ObservableGauge("uc.catalog.feed.lag", metric.WithUnit("s"),
		metric.WithDescription("Time since the change feed was last read to its end"))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	pending, err := meter.Int64ObservableGauge("uc.catalog.deletions.pending", metric.WithDescription("Workflows on their way out"))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	leaving, err := meter.Int64ObservableGauge("uc.catalog.tenants.leaving", metric.WithDescription("Tenants on their way out"))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	lost, err := meter.Int64Counter("uc.catalog.audit.lost", metric.WithDescription("Refusals that could not be written down"))
	if err != nil {
		return nil, fmt.Errorf("make metric: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(watchers, s.definitions.Watchers())
		o.ObserveInt64(onlookers, s.watches.Watchers())
		o.ObserveFloat64(lag, s.hub.Lag().Seconds())
		o.ObserveInt64(pending, s.deletions.Pending())
		o.ObserveInt64(leaving, s.offboarding.Pending())
		return nil
	}, watchers, onlookers, lag, pending, leaving)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return audit.NewRefusals(s.store, s.cfg.Telemetry.Logger, func(ctx context.Context) { lost.Add(ctx, 1) }), nil
}
