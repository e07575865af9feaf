// Package budget divides memory fairly among the tenants of a process, the users of a tenant, and the sessions of a
// user. When there is no room left, it refuses tenants, users and sessions that use their share or more, and admits
// those that use less.
package budget
