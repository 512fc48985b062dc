using System.Globalization;
using System.Text;

namespace KeyVa.Cli.Shell;

/// <summary>
/// A line being edited: text and cursor. The cursor moves over what a person sees as characters (grapheme clusters). One
/// thread.
/// </summary>
internal sealed class LineBuffer
{
    private readonly StringBuilder _text = new();
    private string _cut = "";

    public int Cursor { get; private set; }

    public int Length => _text.Length;

    public string Text => _text.ToString();

    public string BeforeCursor => _text.ToString(0, Cursor);

    public void Set(string text)
    {
        _text.Clear().Append(text);
        Cursor = text.Length;
    }

    public void Insert(string text)
    {
        _text.Insert(Cursor, text);
        Cursor += text.Length;
    }

    /// <summary>Puts a text in place of the one before the cursor, from an index on.</summary>
    public void ReplaceBefore(int from, string text)
    {
        _text.Remove(from, Cursor - from).Insert(from, text);
        Cursor = from + text.Length;
    }

    public void Left() => Cursor = Previous();

    public void Right() => Cursor = Next();

    public void Home() => Cursor = 0;

    public void End() => Cursor = _text.Length;

    public void WordLeft() => Cursor = WordStart();

    public void WordRight()
    {
        while (Cursor < _text.Length && _text[Cursor] == ' ')
        {
            Cursor++;
        }

        while (Cursor < _text.Length && _text[Cursor] != ' ')
        {
            Cursor++;
        }
    }

    public void Backspace() => Remove(Previous(), Cursor);

    public void Delete() => Remove(Cursor, Next());

    public void CutToEnd() => Cut(Cursor, _text.Length);

    public void CutToHome() => Cut(0, Cursor);

    public void CutWord() => Cut(WordStart(), Cursor);

    public void Paste() => Insert(_cut);

    private int Previous()
    {
        int last = 0;
        TextElementEnumerator elements = StringInfo.GetTextElementEnumerator(BeforeCursor);
        while (elements.MoveNext())
        {
            last = elements.ElementIndex;
        }

        return last;
    }

    private int Next() => Cursor == _text.Length ? Cursor : Cursor + StringInfo.GetNextTextElementLength(Text, Cursor);

    private int WordStart()
    {
        int start = Cursor;
        while (start > 0 && _text[start - 1] == ' ')
        {
            start--;
        }

        while (start > 0 && _text[start - 1] != ' ')
        {
            start--;
        }

        return start;
    }

    private void Cut(int from, int to)
    {
        if (to > from)
        {
            _cut = _text.ToString(from, to - from);
            Remove(from, to);
        }
    }

    private void Remove(int from, int to)
    {
        _text.Remove(from, to - from);
        Cursor = from;
    }
}
