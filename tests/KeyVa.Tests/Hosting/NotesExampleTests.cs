using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using Xunit;

namespace KeyVa.Tests.Hosting;

/// <summary>examples/notes is started as a user starts it, and driven over HTTP.</summary>
public sealed class NotesExampleTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("keyva-test").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task NotesVisitsAndSessionsOutliveTheProcess()
    {
        // Cookies do not tell ports apart: those of the first process go to the second as well.
        CookieContainer cookies = new();
        string etag;
        using (Application application = Application.Start(_folder))
        {
            using HttpClient http = application.Connect(cookies);
            Assert.Equal(HttpStatusCode.OK, (await http.GetAsync("/health/live")).StatusCode);
            Assert.Equal("Healthy", await http.GetStringAsync("/health/ready"));
            Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/notes/milk")).StatusCode);
            HttpResponseMessage put = await http.PutAsync("/notes/milk", new StringContent("two bottles"));
            Assert.Equal(HttpStatusCode.NoContent, put.StatusCode);
            etag = put.Headers.ETag!.Tag;
            Assert.Equal(HttpStatusCode.PreconditionFailed, (await PutAsync(http, "three", "\"999\"")).StatusCode);
            Assert.Equal("1 of 1", await VisitAsync(http));
            Assert.Equal("2 of 2", await VisitAsync(http));
            using HttpClient stranger = application.Connect(new CookieContainer());
            Assert.Equal("1 of 3", await VisitAsync(stranger));
            application.Kill();
        }

        using (Application application = Application.Start(_folder))
        {
            using HttpClient http = application.Connect(cookies);
            HttpResponseMessage read = await http.GetAsync("/notes/milk");
            Assert.Equal("two bottles", await read.Content.ReadAsStringAsync());
            Assert.Equal(etag, read.Headers.ETag!.Tag);
            Assert.Equal(HttpStatusCode.NoContent, (await PutAsync(http, "three", etag)).StatusCode);
            Assert.Equal("3 of 4", await VisitAsync(http));
            await http.PutAsync("/notes/bread", new StringContent("one"));
            Assert.Equal(["bread", "milk"], await http.GetFromJsonAsync<string[]>("/notes") ?? []);
            Assert.Equal(HttpStatusCode.NoContent, (await http.DeleteAsync("/notes/milk")).StatusCode);
            Assert.Equal(HttpStatusCode.NotFound, (await http.DeleteAsync("/notes/milk")).StatusCode);
        }
    }

    private static Task<HttpResponseMessage> PutAsync(HttpClient http, string text, string match)
    {
        HttpRequestMessage request = new(HttpMethod.Put, "/notes/milk") { Content = new StringContent(text) };
        request.Headers.IfMatch.Add(new EntityTagHeaderValue(match));
        return http.SendAsync(request);
    }

    private static async Task<string> VisitAsync(HttpClient http)
    {
        using HttpResponseMessage response = await http.PostAsync("/visits", null);
        return await response.Content.ReadAsStringAsync();
    }

    private sealed class Application : IDisposable
    {
        private readonly Process _process;
        private readonly Uri _address;

        private Application(Process process, Uri address)
        {
            _process = process;
            _address = address;
        }

        public static Application Start(string folder)
        {
            string dotnet = Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? Environment.ProcessPath!;
            ProcessStartInfo start = new(dotnet, [Path.Combine(AppContext.BaseDirectory, "KeyVa.Example.Notes.dll"), "--urls", "http://127.0.0.1:0", "--KeyVa:Data", Path.Combine(folder, "data")])
            {
                RedirectStandardOutput = true,
                WorkingDirectory = folder,
            };
            // The keys that protect cookies are kept there.
            start.Environment["HOME"] = folder;
            Process process = Process.Start(start)!;
            try
            {
                return new Application(process, ReadAddress(process));
            }
            catch
            {
                // Nothing of a start that failed stays behind.
                process.Kill();
                process.WaitForExit();
                throw;
            }
        }

        private static Uri ReadAddress(Process process)
        {
            const string Listening = "Now listening on: ";
            List<string> seen = [];
            while (process.StandardOutput.ReadLine() is { } line)
            {
                seen.Add(line);
                if (line.IndexOf(Listening, StringComparison.Ordinal) is >= 0 and int at)
                {
                    _ = process.StandardOutput.ReadToEndAsync();
                    return new Uri(line[(at + Listening.Length)..]);
                }
            }

            throw new InvalidOperationException($"the example did not come up: {string.Join('\n', seen)}");
        }

        public HttpClient Connect(CookieContainer cookies) =>
            new(new HttpClientHandler { CookieContainer = cookies }) { BaseAddress = _address };

        public void Kill() => _process.Kill();

        public void Dispose()
        {
            if (!_process.HasExited)
            {
                _process.Kill();
            }

            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
