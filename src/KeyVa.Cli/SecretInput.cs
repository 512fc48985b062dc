using System.Text;

namespace KeyVa.Cli;

/// <summary>
/// Where secrets come from: a file, the standard input, or a person at a terminal who is not shown what it types. Never an argument, which every process of
/// the machine can read. Stateless.
/// </summary>
internal static class SecretInput
{
    private const int MaxBytes = 4096;

    /// <summary>The first line of a file.</summary>
    public static string OfFile(string path)
    {
        using FileStream file = File.OpenRead(path);
        return FirstLine(file, $"the file '{path}'");
    }

    /// <summary>A new secret: from a terminal twice, so that a slip of the finger locks nobody out; else the first line of the input.</summary>
    public static string New(Terminal terminal, string what)
    {
        if (!terminal.IsInputTerminal)
        {
            return FirstLine(terminal.Input, "the standard input");
        }

        string first = Ask(terminal, $"new {what}: ");
        return Ask(terminal, $"{what} again: ") == first ? first : throw CommandException.Usage("these were not the same; nothing was changed");
    }

    /// <summary>A secret that somebody has already, from a terminal.</summary>
    public static string Known(Terminal terminal, string what, string options = "--password-file or --token-file") => terminal.IsInputTerminal && terminal.IsErrorTerminal
        ? Ask(terminal, $"{what}: ")
        : throw CommandException.Usage($"there is no terminal to ask for the {what} at; name a file with {options}");

    private static string FirstLine(Stream stream, string from)
    {
        byte[] bytes = new byte[MaxBytes];
        int read = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        int end = bytes.AsSpan(0, read).IndexOf((byte)'\n');
        string line = Encoding.UTF8.GetString(bytes, 0, end < 0 ? read : end).TrimEnd('\r');
        return line.Length > 0 ? line : throw CommandException.Usage($"{from} has no secret in its first line");
    }

    private static string Ask(Terminal terminal, string prompt)
    {
        terminal.Error.Write(prompt);
        terminal.Error.Flush();
        StringBuilder typed = new();
        while (true)
        {
            ConsoleKeyInfo key = Console.ReadKey(intercept: true);
            if (key.Key == ConsoleKey.Enter)
            {
                terminal.Error.WriteLine();
                return typed.Length > 0 ? typed.ToString() : throw CommandException.Usage("nothing was typed; nothing was changed");
            }

            if (key.Key == ConsoleKey.Backspace)
            {
                typed.Length = Math.Max(0, typed.Length - 1);
            }
            else if (!char.IsControl(key.KeyChar) && typed.Length < MaxBytes)
            {
                typed.Append(key.KeyChar);
            }
        }
    }
}
