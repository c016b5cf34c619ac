package oidc

import (
	"fmt"
	"strconv"
)

// Step is one step of a validation: what was looked at and whether it held.
// Details may quote claims; they are for the operator who holds the token, not
// for logs.
type Step struct {
	Name   string // such as "audience"; the names may grow in number
	OK     bool   // false ends the validation
	Detail string // one line of no fixed form
}

// explainer reports steps to whoever asked for them, nil for nobody. Callers ask
// for nil before they put a detail together: that alone would cost as much as
// the steps.
type explainer func(Step)

func (ex explainer) ok(name, format string, args ...any) {
	if ex != nil {
		ex(Step{name, true, fmt.Sprintf(format, args...)})
	}
}

// fail reports err as the step at which the validation ended, and returns it.
func (ex explainer) fail(name string, err *Error) *Error {
	if ex != nil {
		detail := string(err.Reason)
		if err.Claim != "" {
			detail += " (" + err.Claim + ")"
		}
		if err.Err != nil {
			detail += ": " + err.Err.Error()
		}
		ex(Step{name, false, detail})
	}
	return err
}

// optional shows a value that may be missing.
func optional(s string, present bool) string {
	if !present {
		return "absent"
	}
	return strconv.Quote(s)
}
