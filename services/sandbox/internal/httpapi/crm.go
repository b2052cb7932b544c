package httpapi

import (
	"net/http"
	"time"

	"workflow.uniconnect/pkg/fault"
	"workflow.uniconnect/services/sandbox/internal/record"
)

// module answers /crm/{module}.
func (h *handler) module(w http.ResponseWriter, r *http.Request) {
	key, err := keyOf(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		records, err := h.Records.Records(r.Context(), key.Tenant, key.Module)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		views := make([]map[string]any, 0, len(records))
		for _, rec := range records {
			views = append(views, view(rec))
		}
		h.answer(w, http.StatusOK, map[string]any{"records": views})
	case http.MethodDelete:
		h.reset(w, r, key)
	default:
		h.fail(w, r, methodNotAllowed(w, "GET, DELETE"))
	}
}

// record answers /crm/{module}/{id}.
func (h *handler) record(w http.ResponseWriter, r *http.Request) {
	key, err := keyOf(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		rec, err := h.Records.Record(r.Context(), key)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		h.answer(w, http.StatusOK, view(rec))
	case http.MethodDelete:
		h.reset(w, r, key)
	default:
		h.fail(w, r, methodNotAllowed(w, "GET, DELETE"))
	}
}

func (h *handler) reset(w http.ResponseWriter, r *http.Request, key record.Key) {
	if err := h.Records.Reset(r.Context(), key); err != nil {
		h.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func keyOf(r *http.Request) (record.Key, error) {
	key := record.Key{Tenant: r.URL.Query().Get("tenant"), Module: r.PathValue("module"), ID: r.PathValue("id")}
	if key.Tenant == "" {
		key.Tenant = record.DefaultTenant
	}
	switch {
	case !record.IsTenant(key.Tenant):
		return record.Key{}, fault.Invalid(fault.Violation{Field: "tenant", Description: "is not a tenant's name"})
	case !record.IsModule(key.Module):
		return record.Key{}, fault.NotFound(record.ReasonNotFound, "the CRM has no such module")
	case len(key.ID) > 128:
		return record.Key{}, record.NotFound(record.Key{Module: key.Module})
	}
	return key, nil
}

// view shows a record as uniconnect.crm.v1 does in JSON, and each field beside that at the top, where scripts look for it; the record's
// own properties win.
func view(r record.Record) map[string]any {
	v := make(map[string]any, len(r.Fields)+6)
	for name, value := range r.Fields {
		v[name] = value
	}
	v["module"], v["id"], v["version"], v["fields"] = r.Module, r.ID, r.Version, r.Fields
	v["createTime"], v["updateTime"] = r.CreateTime.UTC().Format(time.RFC3339Nano), r.UpdateTime.UTC().Format(time.RFC3339Nano)
	return v
}
