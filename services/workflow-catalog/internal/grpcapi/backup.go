package grpcapi

import (
	"context"

	"github.com/google/uuid"

	"workflow.uniconnect/pkg/listing"
	workflowv1 "workflow.uniconnect/proto/gen/go/uniconnect/workflow/v1"
	"workflow.uniconnect/services/workflow-catalog/internal/workflow"
)

// BackupWorkflow keeps what is live.
func (s *Catalog) BackupWorkflow(ctx context.Context, req *workflowv1.BackupWorkflowRequest) (*workflowv1.BackupWorkflowResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodBackup, req)
	if err != nil {
		return nil, err
	}
	b, err := s.catalog.Backup(ctx, call, workflow.ID(req.GetId()), req.GetName())
	if err != nil {
		return nil, err
	}
	return &workflowv1.BackupWorkflowResponse{Backup: backupMessage(b)}, nil
}

// ListBackups returns a page of a workflow's backups, newest first.
func (s *Catalog) ListBackups(ctx context.Context, req *workflowv1.ListBackupsRequest) (*workflowv1.ListBackupsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	scope := listing.NewScope("backups", caller.Tenant, req.GetWorkflowId())
	position, err := scope.Position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	var before *workflow.Backup
	if position != nil {
		if before, err = backupAt(position); err != nil {
			return nil, err
		}
	}
	page, more, err := s.catalog.Backups(ctx, workflow.Tenant(caller.Tenant), workflow.ID(req.GetWorkflowId()), before, pageSize(req.GetPageSize()))
	if err != nil {
		return nil, err
	}
	resp := &workflowv1.ListBackupsResponse{}
	for _, b := range page {
		resp.Backups = append(resp.Backups, backupMessage(b))
	}
	if more {
		resp.NextPageToken = scope.Token(backupPosition(page[len(page)-1]))
	}
	return resp, nil
}

// DeleteBackup removes a backup.
func (s *Catalog) DeleteBackup(ctx context.Context, req *workflowv1.DeleteBackupRequest) (*workflowv1.DeleteBackupResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodDeleteBackup, req)
	if err != nil {
		return nil, err
	}
	if err := s.catalog.DeleteBackup(ctx, call, workflow.ID(req.GetWorkflowId()), workflow.BackupID(req.GetId())); err != nil {
		return nil, err
	}
	return &workflowv1.DeleteBackupResponse{}, nil
}

// RestoreBackup returns the configuration to a chosen backup.
func (s *Catalog) RestoreBackup(ctx context.Context, req *workflowv1.RestoreBackupRequest) (*workflowv1.RestoreBackupResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodRestore, req)
	if err != nil {
		return nil, err
	}
	target := workflow.Target{ID: workflow.ID(req.GetWorkflowId()), ETag: req.GetEtag()}
	msg, err := answer(s.catalog.Restore(ctx, call, target, workflow.BackupID(req.GetId()), s.rebuild(call, target.ID)))
	return &workflowv1.RestoreBackupResponse{Workflow: msg}, err
}

// ResetWorkflow returns the configuration to the last backup.
func (s *Catalog) ResetWorkflow(ctx context.Context, req *workflowv1.ResetWorkflowRequest) (*workflowv1.ResetWorkflowResponse, error) {
	call, err := checkedCall(ctx, workflow.MethodReset, req)
	if err != nil {
		return nil, err
	}
	target := workflow.Target{ID: workflow.ID(req.GetId()), ETag: req.GetEtag()}
	msg, err := answer(s.catalog.Reset(ctx, call, target, s.rebuild(call, target.ID)))
	return &workflowv1.ResetWorkflowResponse{Workflow: msg}, err
}

// rebuild returns what makes a stored configuration the workflow's: it is checked like one that comes from outside, since what was good
// when it was stored need not be so now.
func (s *Catalog) rebuild(call workflow.Call, id workflow.ID) workflow.Build {
	return func(ctx context.Context, from workflow.Config) (workflow.Config, error) {
		w, err := configMessage(from)
		if err != nil {
			return workflow.Config{}, err
		}
		w.Id = string(id)
		return s.checker.config(ctx, call.Tenant, w, nil)
	}
}

func backupMessage(b workflow.Backup) *workflowv1.Backup {
	return &workflowv1.Backup{
		Id: string(b.ID), Name: b.Name, Revision: b.Revision, CreateTime: timestamp(b.CreateTime), CreateUser: b.CreateUser,
	}
}

// backupPosition is where a list goes on after a backup.
func backupPosition(b workflow.Backup) []byte { return appendTime(idBytes(string(b.ID)), b.CreateTime) }

func backupAt(position []byte) (*workflow.Backup, error) {
	if len(position) < idSize {
		return nil, listing.ErrPageToken
	}
	at, err := timeOf(position[idSize:])
	return &workflow.Backup{ID: workflow.BackupID(uuid.UUID(position[:idSize]).String()), CreateTime: at}, err
}
