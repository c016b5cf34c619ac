// Package doctor looks at the issuers of a configuration and says what is wrong with
// them, where the file is to be changed, and how.
//
// [oidc.Diagnose] brings the facts of one issuer, fetched as the gate fetches.
// [Findings] is pure: facts and configuration in, findings out, the usual mistakes by
// name. [Examine] does both for many issuers at once.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/claimgate/claimgate/extauthz"
	"github.com/claimgate/claimgate/oidc"
)

// Patient is an issuer with what was found about it.
type Patient struct {
	Index     int // in the configuration
	Config    *extauthz.IssuerConfig
	Diagnosis oidc.Diagnosis
	Findings  []Finding
}

// Usable reports whether tokens of the issuer could be verified.
func (p Patient) Usable() bool { return len(p.Diagnosis.Keys) > 0 }

// Finding is something that is wrong, or about to be. Its texts can quote the issuer's
// server: what could steer a terminal is escaped in quotes.
type Finding struct {
	Code string // one of a fixed list; see codes
	// Text says what is wrong.
	Text string
	// Field is the field of the issuer to change, such as http.caFile; "" if the
	// configuration is not what is to be changed. Change says how.
	Field  string
	Change string
	// Warning says that the issuer's tokens work all the same.
	Warning bool
}

// atOnce bounds the issuers that are asked at a time.
const atOnce = 16

// Examine looks at issuers of a valid configuration, several at a time, and returns
// them in the order of indexes. Of those with tenants it looks at the one that is
// named, or else at the first of a list. progress is called after each, by one
// goroutine at a time; it may be nil.
func Examine(ctx context.Context, cfg *extauthz.Config, indexes []int, tenant string, progress func(done int)) ([]Patient, error) {
	issuers, err := cfg.ValidatorIssuers()
	if err != nil {
		return nil, err
	}
	if tenant != "" {
		if err := choose(tenant, issuers, indexes); err != nil {
			return nil, err
		}
	}
	patients := make([]Patient, len(indexes))
	errs := make([]error, len(indexes))
	var mu sync.Mutex
	done := 0
	work := make(chan int)
	var workers sync.WaitGroup
	for range min(atOnce, len(indexes)) {
		workers.Go(func() {
			for n := range work {
				i := indexes[n]
				p := Patient{Index: i, Config: &cfg.Issuers[i]}
				p.Diagnosis, errs[n] = oidc.Diagnose(ctx, issuers[i])
				if errors.Is(errs[n], oidc.ErrTenantNeeded) {
					errs[n] = nil
					p.Findings = []Finding{{Code: TenantNeeded, Warning: true, Field: "tenants",
						Text: "each tenant has keys of its own, and none is listed", Change: "name one to look at with --tenant"}}
				} else {
					p.Findings = Findings(p.Diagnosis, p.Config)
				}
				patients[n] = p
				mu.Lock()
				done++
				if progress != nil {
					progress(done)
				}
				mu.Unlock()
			}
		})
	}
	for n := range indexes {
		work <- n
	}
	close(work)
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return patients, ctx.Err()
}

// ErrNoSuchTenant is that none of the issuers accepts the tenant that is to be looked
// at.
var ErrNoSuchTenant = errors.New("no issuer accepts this tenant")

// choose makes a tenant the only one of those issuers that accept it. Others stay as
// they are.
func choose(tenant string, issuers []oidc.IssuerConfig, indexes []int) error {
	chosen := false
	for _, i := range indexes {
		ic := &issuers[i]
		templates, err := ic.Preset.TenantTemplates(ic.Issuer)
		if err != nil {
			return err
		}
		if len(templates) == 0 || templates[0].CheckTenant(tenant) != nil || !accepts(ic.Tenants, tenant) {
			continue
		}
		ic.Tenants = oidc.TenantsConfig{Allow: []string{tenant}}
		chosen = true
	}
	if !chosen {
		return fmt.Errorf("%w: %q", ErrNoSuchTenant, tenant)
	}
	return nil
}

func accepts(c oidc.TenantsConfig, tenant string) bool {
	if c.Pattern == "" {
		return slices.Contains(c.Allow, tenant)
	}
	pattern, err := oidc.ParseTenantPattern(c.Pattern)
	return err == nil && pattern.MatchString(tenant)
}
