using System.CommandLine;
using KeyVa.Cli;
using KeyVa.Cli.Shell;
using Xunit;

namespace KeyVa.Tests.Cli;

public sealed class LineEditorTests : IDisposable
{
    private readonly StringWriter _screen = new();
    private readonly History _history = new(null);

    public void Dispose() => _screen.Dispose();

    [Fact]
    public void TextIsEditedWithTheKeysOfReadline()
    {
        Assert.Equal("get key", Type("gt key", K(ConsoleKey.Home), K(ConsoleKey.RightArrow), "e"));
        Assert.Equal("ab", Type("abc", K(ConsoleKey.Backspace)));
        Assert.Equal("bc", Type("abc", C(ConsoleKey.A), K(ConsoleKey.Delete)));
        Assert.Equal("get ", Type("get some", C(ConsoleKey.W)));
        Assert.Equal("b c a ", Type("a b c", C(ConsoleKey.A), K(ConsoleKey.RightArrow), K(ConsoleKey.RightArrow), C(ConsoleKey.U), C(ConsoleKey.E), " ", C(ConsoleKey.Y)));
        Assert.Equal("a", Type("a b", C(ConsoleKey.A), K(ConsoleKey.RightArrow), C(ConsoleKey.K)));
        Assert.Equal("漢x🜚", Type("漢字🜚", K(ConsoleKey.LeftArrow), K(ConsoleKey.Backspace), "x"));
        Assert.Equal("", Type("abc", C(ConsoleKey.C)));
        Assert.Null(Type(C(ConsoleKey.D)));
    }

    [Fact]
    public void ArrowsAndSearchFindEarlierLines()
    {
        foreach (string line in (string[])["get one", "set two 2", "get three", "get three", " secret"])
        {
            Type(line);
        }

        Assert.Equal(["get one", "set two 2", "get three"], _history.Lines);
        Assert.Equal("set two 2", Type(K(ConsoleKey.UpArrow), K(ConsoleKey.UpArrow)));
        Assert.Equal("unfinished!", Type("unfinished", K(ConsoleKey.UpArrow), K(ConsoleKey.DownArrow), "!"));
        Assert.Equal("get one", Type(C(ConsoleKey.R), "get o", K(ConsoleKey.Escape)));
        Assert.Equal("get one", Type(C(ConsoleKey.R), "get", C(ConsoleKey.R), C(ConsoleKey.R), K(ConsoleKey.Escape)));
    }

    [Fact]
    public void TabCompletesCommandsOptionsAndKeys()
    {
        Assert.Equal("get greeting ", Type("g", K(ConsoleKey.Tab), "gree", K(ConsoleKey.Tab)));
        Assert.Equal("admin partition snapshot ", Type("ad", K(ConsoleKey.Tab), "p", K(ConsoleKey.Tab), "sn", K(ConsoleKey.Tab)));
        Assert.Equal("scan --keys-only ", Type("scan --keys", K(ConsoleKey.Tab)));
        Assert.Equal("scan --prefix lib", Type("scan --prefix l", K(ConsoleKey.Tab)));
        Assert.Equal("del libc6 libz", Type("del libc", K(ConsoleKey.Tab), "libz", K(ConsoleKey.Tab)));
        Assert.Equal("get \"with space\" ", Type("get wi", K(ConsoleKey.Tab)));
        Assert.Equal("get \"with space\" ", Type("get \"with s", K(ConsoleKey.Tab)));
        _screen.GetStringBuilder().Clear();
        Type("get lib", K(ConsoleKey.Tab));
        Assert.Contains("libc6     libz1     libzstd1", _screen.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void ALineWiderThanTheTerminalIsShownAroundItsCursor()
    {
        Assert.Equal(("ij", 2), TextWidth.Window("abcdefghij", 10, 4));
        Assert.Equal(("abcd", 2), TextWidth.Window("abcdefghij", 2, 4));
        Assert.Equal(4, TextWidth.Of("漢字"));
        string long120 = new('x', 120);
        Assert.Equal(long120, Type(long120));
        Assert.All(_screen.ToString().Split("\r"), part => Assert.True(TextWidth.Of(part.Replace("\e[K", "", StringComparison.Ordinal)) <= 44));
    }

    [Fact]
    public void TheHistoryIsKeptForItsOwnerOnly()
    {
        string directory = Directory.CreateTempSubdirectory("keyva-test").FullName;
        string path = Path.Combine(directory, "state", "history");
        new History(path).Add("set a 1");
        History other = new(path);
        other.Add(" not this");
        other.Add("get ü");
        Assert.Equal(["set a 1", "get ü"], new History(path).Lines);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, Mode(path));
        File.WriteAllLines(path, Enumerable.Range(0, 3 * History.MaxLines).Select(i => $"get {i}"));
        Assert.Equal(History.MaxLines, new History(path).Lines.Count);
        Assert.Equal(History.MaxLines, File.ReadAllLines(path).Length);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, Mode(path));
        Directory.Delete(directory, recursive: true);
        Assert.NotNull(new History("/proc/none/history").Problem);
    }

    private static UnixFileMode Mode(string path) =>
        OperatingSystem.IsWindows() ? throw new PlatformNotSupportedException() : File.GetUnixFileMode(path);

    private string? Type(params object[] keys)
    {
        Queue<ConsoleKeyInfo> typed = new();
        foreach (object key in keys)
        {
            if (key is ConsoleKeyInfo info)
            {
                typed.Enqueue(info);
                continue;
            }

            foreach (char c in (string)key)
            {
                typed.Enqueue(new ConsoleKeyInfo(c, ConsoleKey.None, false, false, false));
            }
        }

        typed.Enqueue(K(ConsoleKey.Enter));
        using Terminal terminal = new(Stream.Null, Stream.Null, TextWriter.Null);
        using Interrupts interrupts = new(listen: false);
        Command root = CommandTree.Create(new Session(terminal, interrupts));
        FakeStore store = new();
        foreach (string key in (string[])["greeting", "libc6", "libz1", "libzstd1", "with space"])
        {
            store.Records[System.Text.Encoding.UTF8.GetBytes(key)] = ([], 0);
        }

        LineEditor editor = new(typed.Dequeue, _screen, () => 44, _history, new Completer(root, () => store).Complete);
        return editor.Read("> ");
    }

    private static ConsoleKeyInfo K(ConsoleKey key) => new('\0', key, false, false, false);

    private static ConsoleKeyInfo C(ConsoleKey key) => new('\0', key, false, false, true);
}
