using KeyVa.Cli;

using Interrupts interrupts = new(listen: true);
using Terminal terminal = Terminal.OfProcess();
await using Session session = new(terminal, interrupts);
return await CommandRunner.RunAsync(session, args, interrupts.Begin());
