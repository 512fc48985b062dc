using Spectre.Console;
using Spectre.Console.Rendering;

namespace KeyVa.Cli;

/// <summary>Columns of text without borders, as wide as they need to be. Stateless.</summary>
internal static class Table
{
    // Wider than any line, so that nothing is wrapped: who reads from a pipe cuts for himself.
    private const int Unbounded = 1 << 20;

    /// <summary>Writes a heading and rows; columns whose heading begins with '&gt;' are aligned to the right.</summary>
    public static void Write(Terminal terminal, IReadOnlyList<string> heading, IEnumerable<IReadOnlyList<string>> rows)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = AnsiSupport.No,
            ColorSystem = ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
            Out = new AnsiConsoleOutput(terminal.Out),
        });
        console.Profile.Width = Unbounded;
        Grid grid = new();
        foreach (string name in heading)
        {
            GridColumn column = new() { NoWrap = true, Padding = new Padding(0, 0, 2, 0) };
            grid.AddColumn(name.StartsWith('>') ? column.RightAligned() : column);
        }

        grid.AddRow([.. heading.Select(name => (IRenderable)new Text(name.TrimStart('>')))]);
        foreach (IReadOnlyList<string> row in rows)
        {
            grid.AddRow([.. row.Select(cell => (IRenderable)new Text(cell))]);
        }

        console.Write(grid);
    }
}
