// `vistter render`: renders a timeline offline, in one process, without any server.
#pragma once

// argv[0] is passed over. Returns the exit status: 0 done, 1 refused input or failed output, 2
// usage.
int cli_render(int argc, char **argv);
