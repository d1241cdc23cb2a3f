// `vistter recording merge`: joins the recordings of both edges, without any server.
#pragma once

// argv[0] is passed over. Returns the exit status: 0 all is there, 1 something is missing or
// cannot be used, 2 usage.
int cli_recording_merge(int argc, char **argv);
