// Package httpapi serves clients over HTTP: it turns requests into operations
// of a node and errors into status codes.
//
// It promises that an error never looks like a success: a write that may or may
// not have been stored says so, and a stream that breaks ends without its
// last line. It decides nothing about data; that is the node's.
package httpapi
