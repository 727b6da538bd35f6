// Package redisstore keeps rate limits in Redis.
package redisstore
