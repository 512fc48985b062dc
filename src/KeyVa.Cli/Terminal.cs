using System.Text;

namespace KeyVa.Cli;

/// <summary>
/// What a command reads from and writes to: the process's streams, or a test's. One command at a time; the progress
/// line may be written from another thread and only goes to <see cref="Error"/>, which is synchronized.
/// </summary>
internal sealed class Terminal : IDisposable
{
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false);

    public Terminal(Stream input, Stream output, TextWriter error)
    {
        Input = input;
        Output = new BufferedStream(output, 1 << 16);
        Out = new StreamWriter(Output, Utf8, 4096, leaveOpen: true) { NewLine = "\n" };
        Error = TextWriter.Synchronized(error);
    }

    /// <summary>Standard input.</summary>
    public Stream Input { get; }

    /// <summary>Standard output, for bytes. Flush <see cref="Out"/> before writing here and this stream after.</summary>
    public Stream Output { get; }

    /// <summary>Standard output, for text.</summary>
    public StreamWriter Out { get; }

    /// <summary>Standard error: messages and progress.</summary>
    public TextWriter Error { get; }

    public bool IsInputTerminal { get; init; }

    public bool IsOutputTerminal { get; init; }

    public bool IsErrorTerminal { get; init; }

    /// <summary>The streams of this process.</summary>
    public static Terminal OfProcess()
    {
        StreamWriter error = new(Console.OpenStandardError(), Utf8, 1024) { AutoFlush = true, NewLine = "\n" };
        return new Terminal(Console.OpenStandardInput(), StandardOutput.Open(), error)
        {
            IsInputTerminal = !Console.IsInputRedirected,
            IsOutputTerminal = !Console.IsOutputRedirected,
            IsErrorTerminal = !Console.IsErrorRedirected,
        };
    }

    /// <summary>Columns of the terminal; a usual number if there is none.</summary>
    public static int Width
    {
        get
        {
            try
            {
                return Console.WindowWidth is > 0 and int width ? width : 80;
            }
            catch (IOException)
            {
                return 80;
            }
        }
    }

    /// <summary>Tells the person something that is not the command's result.</summary>
    public void Say(string message) => Error.WriteLine($"keyva: {message}");

    /// <summary>Sends everything written so far.</summary>
    public void Flush()
    {
        Out.Flush();
        Output.Flush();
    }

    public void Dispose()
    {
        // Whatever could still be buffered was flushed by the command, or its reader has gone.
        Input.Dispose();
        Error.Flush();
    }
}
