package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"workflow.uniconnect/services/workflow-catalog/internal/tenant"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

const selectSettings = `
SELECT t.time_zone, t.execution_retention, t.failure_workflow_id, t.status_map,
       t.quota_requests_per_second, t.quota_workflows, t.quota_streams,
       ARRAY(SELECT m.value FROM role_mappings m WHERE m.tenant = t.tenant ORDER BY m.value COLLATE "C"),
       ARRAY(SELECT r.title FROM role_mappings m JOIN roles r ON r.tenant = m.tenant AND r.id = m.role_id
             WHERE m.tenant = t.tenant ORDER BY m.value COLLATE "C")
FROM tenants t WHERE t.tenant = $1`

// Settings returns the settings of a tenant.
func (s *Store) Settings(ctx context.Context, name workflow.Tenant) (tenant.Settings, error) {
	settings, err := readSettings(ctx, s.of(name), name)
	return settings, wrap("read settings", err)
}

func readSettings(ctx context.Context, q rowQuerier, name workflow.Tenant) (tenant.Settings, error) {
	var s tenant.Settings
	var seconds int64
	var failure *workflow.ID
	var values, titles []string
	err := q.QueryRow(ctx, selectSettings, name).Scan(&s.TimeZone, &seconds, &failure, &s.StatusMap,
		&s.Quotas.RequestsPerSecond, &s.Quotas.Workflows, &s.Quotas.Streams, &values, &titles)
	if errors.Is(err, pgx.ErrNoRows) {
		return tenant.Settings{}, tenant.ErrNotFound
	}
	s.ExecutionRetention, s.FailureWorkflow = time.Duration(seconds)*time.Second, deref(failure)
	s.RoleMap = make(map[string]string, len(values))
	for i, value := range values {
		s.RoleMap[value] = titles[i]
	}
	return s, err
}

// Settings returns the settings.
func (d *desk) Settings(ctx context.Context) (tenant.Settings, error) {
	settings, err := readSettings(ctx, d.tx, d.tenant)
	if err != nil {
		return tenant.Settings{}, fmt.Errorf("read settings: %w", err)
	}
	return settings, nil
}

const (
	updateSettings = `
UPDATE tenants SET time_zone = $2, execution_retention = $3, failure_workflow_id = $4, status_map = $5 WHERE tenant = $1`
	// Calls of tenants may not even try.
	updateQuotas = `
UPDATE tenants SET quota_requests_per_second = $2, quota_workflows = $3, quota_streams = $4 WHERE tenant = $1`
	dropMappings = `DELETE FROM role_mappings WHERE tenant = $1 AND value <> ALL ($2::text[])`
	putMappings  = `
INSERT INTO role_mappings (tenant, value, role_id) SELECT $1, m.value, m.role_id FROM unnest($2::text[], $3::uuid[]) AS m (value, role_id)
ON CONFLICT (tenant, value) DO UPDATE SET role_id = excluded.role_id`
)

// SetSettings replaces the settings.
func (d *desk) SetSettings(ctx context.Context, s tenant.Settings, mapping map[string]tenant.RoleID) error {
	var failure *workflow.ID
	if s.FailureWorkflow != "" {
		failure = &s.FailureWorkflow
	}
	statuses := s.StatusMap
	if statuses == nil {
		statuses = map[string]string{}
	}
	before, err := d.Settings(ctx)
	if err != nil {
		return err
	}
	d.rezoned = before.TimeZone != s.TimeZone
	seconds := int64(s.ExecutionRetention / time.Second)
	if _, err := d.tx.Exec(ctx, updateSettings, d.tenant, s.TimeZone, seconds, failure, statuses); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	if q := s.Quotas; q != before.Quotas {
		if _, err := d.tx.Exec(ctx, updateQuotas, d.tenant, q.RequestsPerSecond, q.Workflows, q.Streams); err != nil {
			return fmt.Errorf("write quotas: %w", err)
		}
	}
	return d.setMappings(ctx, mapping)
}

func (d *desk) setMappings(ctx context.Context, mapping map[string]tenant.RoleID) error {
	values := slices.AppendSeq(make([]string, 0, len(mapping)), maps.Keys(mapping))
	slices.Sort(values)
	ids := make([]tenant.RoleID, len(values))
	for i, value := range values {
		ids[i] = mapping[value]
	}
	if _, err := d.tx.Exec(ctx, dropMappings, d.tenant, values); err != nil {
		return fmt.Errorf("write role map: %w", err)
	}
	if _, err := d.tx.Exec(ctx, putMappings, d.tenant, values, ids); err != nil {
		return fmt.Errorf("write role map: %w", err)
	}
	return nil
}

// holdWorkflow keeps the workflow from being removed before the settings that name it are there to forget it.
const holdWorkflow = `SELECT FROM workflows WHERE tenant = $1 AND id = $2 AND state <> 3 FOR KEY SHARE`

// HasWorkflow reports whether the tenant has a workflow that is not being deleted.
func (d *desk) HasWorkflow(ctx context.Context, id workflow.ID) (bool, error) {
	err := d.tx.QueryRow(ctx, holdWorkflow, d.tenant, id).Scan()
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for a workflow: %w", err)
	}
	return true, nil
}
