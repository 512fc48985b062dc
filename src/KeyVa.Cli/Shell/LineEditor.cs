using System.Text;

namespace KeyVa.Cli.Shell;

/// <summary>What completion offers at a place of a line.</summary>
/// <param name="Start">Where the word begins that the candidates stand for.</param>
/// <param name="Candidates">Whole words, as they are written.</param>
/// <param name="IsComplete">Whether there are no more than these.</param>
internal sealed record Completions(int Start, IReadOnlyList<string> Candidates, bool IsComplete = true);

/// <summary>
/// Reads lines from a terminal in the way of readline: Emacs keys, history with the arrows and Ctrl-R, completion with
/// Tab. A line longer than the terminal is shown around its cursor. One thread.
/// </summary>
internal sealed class LineEditor
{
    private readonly Func<ConsoleKeyInfo> _readKey;
    private readonly TextWriter _screen;
    private readonly Func<int> _width;
    private readonly History _history;
    private readonly Func<string, Completions> _complete;
    private readonly LineBuffer _line = new();
    private string _prompt = "";

    /// <summary>An editor over a way to read keys, a screen and its width.</summary>
    public LineEditor(
        Func<ConsoleKeyInfo> readKey, TextWriter screen, Func<int> width, History history, Func<string, Completions> complete)
    {
        _readKey = readKey;
        _screen = screen;
        _width = width;
        _history = history;
        _complete = complete;
    }

    /// <summary>The next line; empty after Ctrl-C, null after Ctrl-D on an empty line.</summary>
    public string? Read(string prompt)
    {
        _prompt = prompt;
        _line.Set("");
        while (true)
        {
            Draw();
            ConsoleKeyInfo key = _readKey();
            if (key.Key == ConsoleKey.Enter || key.KeyChar is '\r' or '\n')
            {
                return Finish();
            }

            if (IsControl(key, ConsoleKey.C))
            {
                _line.End();
                Draw();
                _screen.Write("^C\r\n");
                return "";
            }

            if (IsControl(key, ConsoleKey.D) && _line.Length == 0)
            {
                _screen.Write("\r\n");
                return null;
            }

            if (IsControl(key, ConsoleKey.R))
            {
                Search();
            }
            else
            {
                Apply(key);
            }
        }
    }

    private string Finish()
    {
        _line.End();
        Draw();
        _screen.Write("\r\n");
        string text = _line.Text;
        _history.Add(text);
        return text;
    }

    private void Apply(ConsoleKeyInfo key)
    {
        bool control = (key.Modifiers & ConsoleModifiers.Control) != 0;
        bool alt = (key.Modifiers & ConsoleModifiers.Alt) != 0;
        switch (key.Key)
        {
            case ConsoleKey.Tab:
                Complete();
                break;
            case ConsoleKey.LeftArrow when control || alt:
            case ConsoleKey.B when alt:
                _line.WordLeft();
                break;
            case ConsoleKey.RightArrow when control || alt:
            case ConsoleKey.F when alt:
                _line.WordRight();
                break;
            case ConsoleKey.LeftArrow:
            case ConsoleKey.B when control:
                _line.Left();
                break;
            case ConsoleKey.RightArrow:
            case ConsoleKey.F when control:
                _line.Right();
                break;
            case ConsoleKey.Home:
            case ConsoleKey.A when control:
                _line.Home();
                break;
            case ConsoleKey.End:
            case ConsoleKey.E when control:
                _line.End();
                break;
            case ConsoleKey.UpArrow:
            case ConsoleKey.P when control:
                Recall(_history.Older(_line.Text));
                break;
            case ConsoleKey.DownArrow:
            case ConsoleKey.N when control:
                Recall(_history.Newer());
                break;
            case ConsoleKey.Backspace:
            case ConsoleKey.H when control:
                _line.Backspace();
                break;
            case ConsoleKey.Delete:
            case ConsoleKey.D when control:
                _line.Delete();
                break;
            case ConsoleKey.K when control:
                _line.CutToEnd();
                break;
            case ConsoleKey.U when control:
                _line.CutToHome();
                break;
            case ConsoleKey.W when control:
                _line.CutWord();
                break;
            case ConsoleKey.Y when control:
                _line.Paste();
                break;
            case ConsoleKey.L when control:
                _screen.Write("\e[H\e[2J");
                break;
            default:
                if (key.KeyChar >= ' ' && key.KeyChar != 127 && !alt)
                {
                    _line.Insert(key.KeyChar.ToString());
                }

                break;
        }
    }

    private void Recall(string? line)
    {
        if (line is not null)
        {
            _line.Set(line);
        }
    }

    private void Complete()
    {
        Completions completions = _complete(_line.BeforeCursor);
        if (completions.Candidates.Count == 0)
        {
            _screen.Write('\a');
            return;
        }

        string common = CommonPrefix(completions.Candidates);
        bool grows = common.Length > _line.Cursor - completions.Start
            || !_line.BeforeCursor.AsSpan(completions.Start).SequenceEqual(common);
        if (completions.Candidates.Count == 1 && completions.IsComplete)
        {
            _line.ReplaceBefore(completions.Start, common + " ");
        }
        else if (grows && common.Length >= _line.Cursor - completions.Start)
        {
            _line.ReplaceBefore(completions.Start, common);
        }
        else
        {
            Offer(completions);
        }
    }

    /// <summary>Lists the candidates below the line, in columns.</summary>
    private void Offer(Completions completions)
    {
        int widest = completions.Candidates.Max(TextWidth.Of) + 2;
        int columns = Math.Max(1, _width() / widest);
        StringBuilder text = new("\r\n");
        for (int i = 0; i < completions.Candidates.Count; i++)
        {
            string candidate = completions.Candidates[i];
            text.Append(candidate);
            bool lastOfRow = (i + 1) % columns == 0 || i == completions.Candidates.Count - 1;
            text.Append(lastOfRow ? "\r\n" : new string(' ', widest - TextWidth.Of(candidate)));
        }

        if (!completions.IsComplete)
        {
            text.Append("…\r\n");
        }

        _screen.Write(text.ToString());
    }

    /// <summary>Ctrl-R: looks for a text in the history, from the newest line on.</summary>
    private void Search()
    {
        string wanted = "";
        int found = _history.Lines.Count;
        while (true)
        {
            string line = found >= 0 && found < _history.Lines.Count ? _history.Lines[found] : "";
            _screen.Write($"\r\e[K(search '{wanted}') {TextWidth.Cut(line, Math.Max(1, _width() - wanted.Length - 14))}");
            _screen.Flush();
            ConsoleKeyInfo key = _readKey();
            if (IsControl(key, ConsoleKey.R))
            {
                int older = _history.Find(wanted, found - 1);
                found = older >= 0 ? older : found;
            }
            else if (key.Key == ConsoleKey.Backspace && wanted.Length > 0)
            {
                wanted = wanted[..^1];
                found = _history.Find(wanted, _history.Lines.Count - 1);
            }
            else if (key.KeyChar >= ' ' && key.KeyChar != 127)
            {
                wanted += key.KeyChar;
                found = _history.Find(wanted, Math.Min(found < 0 ? int.MaxValue : found, _history.Lines.Count - 1));
            }
            else
            {
                if (!IsControl(key, ConsoleKey.G) && !IsControl(key, ConsoleKey.C) && line.Length > 0)
                {
                    _line.Set(line);
                }

                return;
            }
        }
    }

    private void Draw()
    {
        int room = Math.Max(8, _width() - TextWidth.Of(_prompt) - 1);
        (string visible, int cursor) = TextWidth.Window(_line.Text, _line.Cursor, room);
        int column = TextWidth.Of(_prompt) + cursor;
        _screen.Write($"\r\e[K{_prompt}{visible}\r{(column > 0 ? $"\e[{column}C" : "")}");
        _screen.Flush();
    }

    private static bool IsControl(ConsoleKeyInfo key, ConsoleKey letter) =>
        key.Key == letter && (key.Modifiers & ConsoleModifiers.Control) != 0;

    private static string CommonPrefix(IReadOnlyList<string> words)
    {
        string first = words[0];
        int length = first.Length;
        foreach (string word in words)
        {
            length = Math.Min(length, first.AsSpan().CommonPrefixLength(word));
        }

        // Not between the halves of a surrogate pair.
        return length > 0 && length < first.Length && char.IsHighSurrogate(first[length - 1]) ? first[..(length - 1)] : first[..length];
    }
}
