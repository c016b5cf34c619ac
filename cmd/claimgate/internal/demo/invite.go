package demo

import (
	"cmp"
	"fmt"
	"io"

	"github.com/claimgate/claimgate/cmd/claimgate/internal/lab"
)

// invite prints what to try while the lab is up. The tokens are worth nothing
// beyond it: the issuers live on loopback and end with the process.
func invite(out io.Writer, l *lab.Lab, door Door, program string) {
	t := tokens{l}
	workforce, customer := t.workforce(nil), t.customer()
	refund := t.workforce(map[string]any{"scope": "orders.refund"})
	fmt.Fprintf(out, "\nAll of it stays up until Ctrl-C. The files are in %s. To paste:\n\n", l.Dir)
	if door.AtGate() {
		check := cmp.Or(program, "claimgate") + " check --addr " + l.GateAddr
		fmt.Fprintf(out, "  WORKFORCE=%s\n\n  CUSTOMER=%s\n\n", workforce, customer)
		fmt.Fprintf(out, "  %s --path /orders/7\n", check)
		fmt.Fprintf(out, "  %s --path /orders/7 --token $WORKFORCE\n", check)
		fmt.Fprintf(out, "  %s --path /orders/7 --token $CUSTOMER\n", check)
		fmt.Fprintf(out, "  curl -s 'http://%s/readyz?verbose'\n", l.AdminAddr)
		return
	}
	base := "http://" + l.EnvoyAddr
	fmt.Fprintf(out, "  WORKFORCE=%s\n\n  CUSTOMER=%s\n\n  REFUND=%s\n\n", workforce, customer, refund)
	for _, line := range []string{
		"curl -i " + base + "/orders/7",
		`curl -i -H "Authorization: Bearer $WORKFORCE" ` + base + "/orders/7",
		`curl -i -H "Authorization: Bearer $CUSTOMER" -H "x-auth-subject: root" ` + base + "/orders/7",
		`curl -i -X POST -H "Authorization: Bearer $CUSTOMER" ` + base + "/orders/7/refund",
		`curl -i -X POST -H "Authorization: Bearer $REFUND" ` + base + "/orders/7/refund",
		"curl -i " + base + "/public/terms",
		"curl -s 'http://" + l.AdminAddr + "/readyz?verbose'",
		"curl -s http://" + l.AdminAddr + "/metrics | grep ^claimgate_",
	} {
		fmt.Fprintln(out, "  "+line)
	}
}
