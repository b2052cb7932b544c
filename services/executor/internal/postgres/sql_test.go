package postgres

import (
	"testing"

	"workflow.uniconnect/pkg/pgtest"
)

// TestSQL has the server prepare every statement against the migrated schema.
func TestSQL(t *testing.T) {
	t.Parallel()
	pool := pgtest.Open(t, pgtest.New(t, Migrate), Schema)
	pgtest.PrepareAll(t, pool, map[string]string{
		"acceptSQL": acceptSQL, "settledSQL": settledSQL, "flushSQL": flushSQL, "reachedSQL": reachedSQL,
		"claimSQL": claimSQL, "journalSQL": journalSQL, "nextWakeSQL": nextWakeSQL, "handBackSQL": handBackSQL,
		"registerSQL": registerSQL, "renewSQL": renewSQL, "forgetSQL": forgetSQL, "sweepSQL": sweepSQL,
		"forgottenSQL": forgottenSQL, "releaseSQL": releaseSQL,
		"tombstoneSQL": tombstoneSQL, "clockSQL": clockSQL, "deleteLiveSQL": deleteLiveSQL,
		"deleteExecutionsSQL": deleteExecutionsSQL, "deleteStartsSQL": deleteStartsSQL, "leftoversSQL": leftoversSQL,
		"tenantTombstoneSQL": tenantTombstoneSQL, "deleteTenantLiveSQL": deleteTenantLiveSQL,
		"deleteTenantExecutionsSQL": deleteTenantExecutionsSQL, "deleteTenantResultsSQL": deleteTenantResultsSQL,
		"deleteTenantStartsSQL": deleteTenantStartsSQL, "deleteTenantTombstonesSQL": deleteTenantTombstonesSQL,
		"tenantLeftoversSQL": tenantLeftoversSQL,
		"unfinishedSQL":      unfinishedSQL,
		"expireSQL":          expireSQL, "buryTombstonesSQL": buryTombstonesSQL, "buryTenantTombstonesSQL": buryTenantTombstonesSQL, "makePartitionSQL": makePartitionSQL,
		"partitionExistsSQL": partitionExistsSQL,
		"getSQL":             getSQL, "stepsSQL": stepsSQL, "listSQL": listSQL, "listOfWorkflowSQL": listOfWorkflowSQL,
	})
}
