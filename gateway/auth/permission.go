package auth

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Permissions is a set of permissions of a client.
type Permissions uint16

// The permissions. Each is one bit; permissionNames says which others a name includes.
const (
	Submit Permissions = 1 << iota // submit jobs, and retry those that it may cancel
	Read                           // get, list, count and watch its own jobs, and read their results
	Cancel                         // cancel its own jobs

	ReadTenant   // as Read, for every job of the tenant
	CancelTenant // as Cancel, for every job of the tenant
	Operate      // read and order the jobs of every tenant, and all else that an operator does
	Payloads     // read what was submitted, of jobs that it may read
	Erase        // remove an ended job that it may read

	// Client is the default set of permissions of a token that lists none.
	Client = Submit | Read | Cancel | Payloads
	// Everything is what a client without a token may do. Such clients are only on this machine.
	Everything = Client | ReadTenant | CancelTenant | Operate | Erase
)

// permissionNames has the names of tokens and settings. What is for the whole tenant includes what is for one's own
// jobs, and operate includes what it does with the jobs of all tenants.
//
// admin is the name of an earlier release for everything within a tenant. It stays accepted, without the permission to
// erase, which there was not when such tokens were made.
var permissionNames = map[string]Permissions{
	"submit":        Submit,
	"read":          Read,
	"cancel":        Cancel,
	"read:tenant":   ReadTenant | Read,
	"cancel:tenant": CancelTenant | Cancel,
	"operate":       Operate | ReadTenant | Read | CancelTenant | Cancel,
	"payloads":      Payloads,
	"erase":         Erase,
	"admin":         Client | ReadTenant | CancelTenant,
}

// adminName is the one name that is an alias: String does not return it.
const adminName = "admin"

// Has reports whether p includes all permissions in asked.
func (p Permissions) Has(asked Permissions) bool { return p&asked == asked }

// String returns the permissions' names, separated by spaces.
func (p Permissions) String() string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(permissionNames)) {
		if name != adminName && p.Has(permissionNames[name]) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

// PermissionNames returns the names of all permissions, sorted.
func PermissionNames() []string {
	all := slices.Sorted(maps.Keys(permissionNames))
	return slices.DeleteFunc(all, func(name string) bool { return name == adminName })
}

// ParsePermissions reads names separated by spaces, commas or plus signs.
func ParsePermissions(s string) (p Permissions, err error) {
	for name := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == ' ' || r == ',' || r == '+' }) {
		one, ok := permissionNames[name]
		if !ok {
			return 0, fmt.Errorf("%q is not one of the permissions %s", name, strings.Join(PermissionNames(), ", "))
		}
		p |= one
	}
	return p, nil
}
