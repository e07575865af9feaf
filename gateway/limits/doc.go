// Package limits divides a gateway's capacity among tenants: it bounds what each may use, and decides whose requests
// are refused first when the gateway is nearly full.
package limits
