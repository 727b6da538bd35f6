module github.com/sallyport/sallyport/internal/browser

go 1.26.0

require (
	github.com/rs/cors v1.11.1
	github.com/sallyport/sallyport v0.0.0
)

require (
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/sallyport/sallyport => ../..
