using System.Text;

namespace KeyVa.Cli.Shell;

/// <summary>
/// The lines typed before, kept in a file that only its owner can read (values may be secrets). Lines that begin with a
/// space are not kept. Several shells may append to one file. One thread.
/// </summary>
internal sealed class History
{
    /// <summary>Lines kept.</summary>
    public const int MaxLines = 1000;

    private readonly List<string> _lines = [];
    private readonly string? _path;
    private int _position;
    private string _typed = "";

    /// <summary>Reads the history of a file; null: none is kept. A file that cannot be used is as none.</summary>
    public History(string? path)
    {
        _path = path;
        if (path is null)
        {
            return;
        }

        try
        {
            Load(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _path = null;
            Problem = e.Message;
        }

        _position = _lines.Count;
    }

    /// <summary>Why the history is not kept; null if it is.</summary>
    public string? Problem { get; private set; }

    public IReadOnlyList<string> Lines => _lines;

    /// <summary>Where the user's history is: the folder for state of the XDG base directory specification.</summary>
    public static string? DefaultPath()
    {
        string? state = Environment.GetEnvironmentVariable("XDG_STATE_HOME");
        if (string.IsNullOrEmpty(state))
        {
            string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            if (home.Length == 0)
            {
                return null;
            }

            state = Path.Combine(home, ".local", "state");
        }

        return Path.Combine(state, "keyva", "history");
    }

    /// <summary>Keeps a line, unless it begins with a space or is the last one again.</summary>
    public void Add(string line)
    {
        if (line.Length > 0 && line[0] != ' ' && (_lines.Count == 0 || _lines[^1] != line))
        {
            _lines.Add(line);
            Append(line);
        }

        _position = _lines.Count;
        _typed = "";
    }

    /// <summary>The line before, or null at the first; <paramref name="typed"/> is kept for the way back.</summary>
    public string? Older(string typed)
    {
        if (_position == _lines.Count)
        {
            _typed = typed;
        }

        return _position > 0 ? _lines[--_position] : null;
    }

    /// <summary>The line behind, at last the one that was being typed; null if there is none.</summary>
    public string? Newer()
    {
        if (_position >= _lines.Count)
        {
            return null;
        }

        return ++_position == _lines.Count ? _typed : _lines[_position];
    }

    /// <summary>The newest line up to an index that holds a text; -1 if none does.</summary>
    public int Find(string text, int from)
    {
        for (int i = Math.Min(from, _lines.Count - 1); i >= 0; i--)
        {
            if (_lines[i].Contains(text, StringComparison.Ordinal))
            {
                return i;
            }
        }

        return -1;
    }

    private void Load(string path)
    {
        string directory = Path.GetDirectoryName(path)!;
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(directory);
        }
        else
        {
            Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        if (!File.Exists(path))
        {
            return;
        }

        string[] lines = File.ReadAllLines(path, Encoding.UTF8);
        _lines.AddRange(lines.AsSpan(Math.Max(0, lines.Length - MaxLines)));
        if (lines.Length > MaxLines * 2)
        {
            string temporary = path + ".new";
            using (FileStream file = Open(temporary, FileMode.Create))
            {
                file.Write(Encoding.UTF8.GetBytes(string.Join('\n', _lines) + "\n"));
            }

            File.Move(temporary, path, overwrite: true);
        }
    }

    private void Append(string line)
    {
        if (_path is null)
        {
            return;
        }

        try
        {
            using FileStream file = Open(_path, FileMode.Append);
            file.Write(Encoding.UTF8.GetBytes(line + "\n"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Problem = e.Message;
        }
    }

    private static FileStream Open(string path, FileMode mode)
    {
        FileStreamOptions options = new() { Mode = mode, Access = FileAccess.Write, Share = FileShare.ReadWrite };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return new FileStream(path, options);
    }
}
