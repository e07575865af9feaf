// Package bulk runs the submits of a batch: several at a time, those with one key one after the other, each with an
// outcome of its own. It knows neither HTTP nor sockets, and makes no job itself.
package bulk
