//go:build !tenantblind

package postgres

import "github.com/jackc/pgx/v5"

// filtered is a statement of a TenantPool as it is sent, with its own filter on the tenant. The tag tenantblind takes the filters away, so
// that a test can show that the database keeps tenants apart by itself.
func filtered(sql string) string { return sql }

func filteredTx(tx pgx.Tx) pgx.Tx { return tx }
