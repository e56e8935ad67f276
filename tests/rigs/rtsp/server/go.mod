module rtsprig

go 1.19

require (
	github.com/bluenviron/gortsplib/v4 v4.6.2
	github.com/pion/rtp v1.8.3
)

require (
	github.com/bluenviron/mediacommon v1.5.1 // indirect
	github.com/google/uuid v1.4.0 // indirect
	github.com/pion/randutil v0.1.0 // indirect
	github.com/pion/rtcp v1.2.12 // indirect
	github.com/pion/sdp/v3 v3.0.6 // indirect
	golang.org/x/net v0.19.0 // indirect
	golang.org/x/sys v0.15.0 // indirect
)
