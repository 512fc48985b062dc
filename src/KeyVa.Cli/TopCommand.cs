using System.CommandLine;
using System.Diagnostics;
using KeyVa.Client;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace KeyVa.Cli;

/// <summary><c>top</c>: a live view of a server on the terminal, or one picture of it. Stateless.</summary>
internal static class TopCommand
{
    private const double ShortestSeconds = 0.1;
    private const double LongestSeconds = 3600;

    public static System.CommandLine.Command Create(Session session)
    {
        Option<bool> once = new("--once") { Description = "Two readings, one picture, and the end: for scripts" };
        Option<double> interval = new("--interval") { Description = "Seconds between two readings", HelpName = "SECONDS", DefaultValueFactory = static _ => 1 };
        return CommandTree.Command(
            session,
            "top",
            "Watch a server live: rates, latencies, partitions, engines, connections. Ctrl-C ends it",
            [once, interval],
            invocation => RunAsync(invocation, invocation.Get(once), invocation.Get(interval)));
    }

    private static async Task<int> RunAsync(Invocation invocation, bool once, double seconds)
    {
        if (!(seconds is >= ShortestSeconds and <= LongestSeconds))
        {
            throw CommandException.Usage($"--interval must be {ShortestSeconds} to {LongestSeconds} seconds");
        }

        if (!once && !invocation.Terminal.IsOutputTerminal)
        {
            throw CommandException.Usage("top draws on a terminal, and the output is none; --once is for pipes");
        }

        TimeSpan interval = TimeSpan.FromSeconds(seconds);
        if (once)
        {
            TopFigures figures = await ReadAsync(invocation, interval);
            Write(invocation, figures);
            return ExitCode.Done;
        }

        return await WatchAsync(invocation, interval);
    }

    private static async Task<TopFigures> ReadAsync(Invocation invocation, TimeSpan interval)
    {
        IReadOnlyList<RemoteMetric> before = await invocation.Control.StatsAsync(invocation.Cancellation);
        long began = Stopwatch.GetTimestamp();
        await Task.Delay(interval, invocation.Cancellation);
        IReadOnlyList<RemoteMetric> now = await invocation.Control.StatsAsync(invocation.Cancellation);
        return new TopFigures(before, now, Stopwatch.GetElapsedTime(began));
    }

    private static void Write(Invocation invocation, TopFigures figures)
    {
        if (invocation.Json)
        {
            WriteJson(invocation, figures);
            return;
        }

        Terminal terminal = invocation.Terminal;
        terminal.Out.WriteLine(string.Join("  ", figures.Head().Select(static one => $"{one.Name} {one.Value}")));
        foreach (TopSection section in figures.Sections().Where(static section => section.Rows.Count > 0))
        {
            terminal.Out.WriteLine();
            terminal.Out.WriteLine(section.Title);
            Table.Write(terminal, section.Heading, section.Rows);
        }
    }

    private static void WriteJson(Invocation invocation, TopFigures figures)
    {
        foreach (TopSection section in figures.Sections())
        {
            foreach (string[] row in section.Rows)
            {
                invocation.WriteJson(json =>
                {
                    json.WriteString("table"u8, section.Title);
                    for (int i = 0; i < row.Length; i++)
                    {
                        json.WriteString(section.Heading[i].TrimStart('>').ToLowerInvariant(), row[i]);
                    }
                });
            }
        }
    }

    private static async Task<int> WatchAsync(Invocation invocation, TimeSpan interval)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(invocation.Terminal.Out) });
        console.Clear();
        try
        {
            IReadOnlyList<RemoteMetric> before = await invocation.Control.StatsAsync(invocation.Cancellation);
            long taken = Stopwatch.GetTimestamp();
            await console.Live(new Text("reading...")).StartAsync(async live =>
            {
                while (true)
                {
                    await Task.Delay(interval, invocation.Cancellation);
                    IReadOnlyList<RemoteMetric> now = await invocation.Control.StatsAsync(invocation.Cancellation);
                    long at = Stopwatch.GetTimestamp();
                    live.UpdateTarget(Draw(invocation, new TopFigures(before, now, Stopwatch.GetElapsedTime(taken, at))));
                    invocation.Terminal.Flush();
                    (before, taken) = (now, at);
                }
            });
        }
        catch (OperationCanceledException) when (invocation.Cancellation.IsCancellationRequested)
        {
            // The way to end it, so no failure.
        }

        return ExitCode.Done;
    }

    private static Rows Draw(Invocation invocation, TopFigures figures)
    {
        List<IRenderable> parts =
        [
            new Text($"keyva top: {invocation.Control.Address}", new Style(decoration: Decoration.Bold)),
            new Text(string.Join("  ", figures.Head().Select(static one => $"{one.Name} {one.Value}"))),
        ];
        foreach (TopSection section in figures.Sections().Where(static section => section.Rows.Count > 0))
        {
            Spectre.Console.Table table = new() { Title = new TableTitle(Markup.Escape(section.Title)), Border = TableBorder.Simple };
            foreach (string heading in section.Heading)
            {
                TableColumn column = new(new Text(heading.TrimStart('>'))) { NoWrap = true };
                table.AddColumn(heading.StartsWith('>') ? column.RightAligned() : column);
            }

            foreach (string[] row in section.Rows)
            {
                table.AddRow([.. row.Select(static cell => (IRenderable)new Text(cell))]);
            }

            parts.Add(table);
        }

        return new Rows(parts);
    }
}
