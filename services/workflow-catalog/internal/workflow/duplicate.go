package workflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxTitle = 128 // characters
	// titleBatch is how many titles are looked up at a time, titleBatches how often.
	titleBatch   = 50
	titleBatches = 20
)

// Copy is what a duplicate is to be.
type Copy struct {
	// Title is empty when a free one is to be found.
	Title string
	State State
}

// Duplicate adds a workflow with the live configuration of another. build makes and checks it under the title that it is given; it may be
// called again when somebody took the title meanwhile.
func (c *Catalog) Duplicate(ctx context.Context, call Call, id ID, to Copy, build func(ctx context.Context, from Config, title string) (Config, error)) (Workflow, error) {
	return once(ctx, c, call, func() (Workflow, error) {
		return race(func() (Workflow, error) {
			source, err := c.open(ctx, call, Target{ID: id})
			if err != nil {
				return Workflow{}, err
			}
			title := to.Title
			if title == "" {
				if title, err = c.freeTitle(ctx, call.Tenant, source.Config.Title); err != nil {
					return Workflow{}, err
				}
			}
			config, err := build(ctx, source.Config, title)
			if err != nil {
				return Workflow{}, err
			}
			w, err := c.add(ctx, call, to.State, config)
			if to.Title == "" && errors.Is(err, TitleTaken("")) {
				return Workflow{}, ErrStale
			}
			return w, err
		})
	})
}

// freeTitle returns a title for a copy that nobody had when it was asked for.
func (c *Catalog) freeTitle(ctx context.Context, tenant Tenant, title string) (string, error) {
	for batch := range titleBatches {
		titles := make([]string, titleBatch)
		for i := range titles {
			titles[i] = copyTitle(title, batch*titleBatch+i+1)
		}
		taken, err := c.deps.Store.Taken(ctx, tenant, titles)
		if err != nil {
			return "", err
		}
		for _, t := range titles {
			if !slices.Contains(taken, t) {
				return t, nil
			}
		}
	}
	return "", errTooManyCopies
}

// copyTitle returns the title of the nth copy, cut so that it is a title.
func copyTitle(title string, n int) string {
	suffix := " (copy)"
	if n > 1 {
		suffix = fmt.Sprintf(" (copy %d)", n)
	}
	if runes := []rune(title); len(runes)+len(suffix) > maxTitle {
		title = strings.TrimRight(string(runes[:maxTitle-len(suffix)]), " ")
	}
	return title + suffix
}
