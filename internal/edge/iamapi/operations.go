package iamapi

import (
	"maps"

	"carnet.dev/carnet/internal/core/fault"
)

// operations is the whole table. Each entity's file has its part.
func operations() map[string]operation {
	table := map[string]operation{}
	for _, part := range parts() {
		maps.Copy(table, part)
	}
	return table
}

// parts are those of each file; no operation stands in two.
func parts() []map[string]operation {
	return []map[string]operation{
		userOperations(), groupOperations(), bearerOperations(), policyOperations(), accessKeyOperations(), accountOperations(),
		simulateOperations(), absentOperations(),
		samlOperations(), oidcOperations(), roleOperations(), profileOperations(),
	}
}

// notOffered refuses an operation that is not in the table, with the reason
// where there is one to know.
func notOffered(action string) error {
	for _, r := range refused() {
		for _, name := range r.actions {
			if name == action {
				return fault.Coded(fault.Unsupported, "InvalidAction", "Carnet's IAM does not offer "+action+": "+r.why)
			}
		}
	}
	return noSuchAction(action, "2010-05-08")
}
