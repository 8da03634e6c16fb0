# frozen_string_literal: true

# A stand-in for Homebrew's Formula: takes down what lfm.rb says of itself, what its `install` would
# do and what its service is, and runs its test against an `lfm` that is installed elsewhere.
#
#   ruby stage.rb lfm.rb                                     what it says, as JSON
#   ruby stage.rb lfm.rb BIN PKGSHARE MAN1 TESTPATH          its test

require "json"
require "pathname"

module Language
  module Python
    module Virtualenv; end
  end
end

# A version, compared number by number.
Version = Struct.new(:text) do
  include Comparable

  def <=>(other)
    numbers <=> other.numbers
  end

  def numbers
    text.to_s.split(".").map(&:to_i)
  end
  alias_method :to_s, :text
end

# Takes down what is called inside a block, with its arguments.
class Notes
  attr_reader :taken

  def initialize(formula)
    @formula = formula
    @taken = {}
  end

  def method_missing(name, *arguments, **named)
    return @formula.public_send(name) if arguments.empty? && named.empty?

    @taken[name] = named.empty? ? arguments.first : named
  end

  def respond_to_missing?(*)
    true
  end
end

class Formula
  PLACES = %i[bin opt_bin var pkgshare opt_pkgshare man1 testpath].freeze

  class << self
    attr_reader :said, :bodies

    def inherited(formula)
      super
      formula.instance_variable_set(:@said, { depends_on: [], resource: {} })
      formula.instance_variable_set(:@bodies, {})
    end

    %i[desc homepage url sha256 license head allow_network_access!].each do |name|
      define_method(name) { |*values, **named| @said[name] = values + (named.empty? ? [] : [named]) }
    end

    def depends_on(what)
      @said[:depends_on] << what
    end

    def resource(name, &body)
      notes = Notes.new(nil)
      notes.instance_exec(&body)
      @said[:resource][name] = notes.taken
    end

    def service(&body)
      @bodies[:service] = body
    end

    def test(&body)
      @bodies[:test] = body
    end

    # Another formula; all that ours asks of it is its version.
    def [](_name)
      Struct.new(:version).new(Version.new(ENV.fetch("STAGED_MLX", "0.32.3")))
    end
  end

  attr_reader :calls, *PLACES

  def initialize(places)
    @calls = []
    PLACES.each { |name| instance_variable_set("@#{name}", places.fetch(name, Pathname("/#{name}"))) }
  end

  def version
    Version.new(self.class.said[:url].first[/-(\d+\.\d+\.\d+)\.tar\.gz/, 1])
  end

  def virtualenv_install_with_resources(*)
    @calls << ["virtualenv_install_with_resources"]
  end

  def generate_completions_from_executable(*what, **how)
    @calls << ["completions", *what.map(&:to_s), how]
  end

  def odie(message)
    abort message
  end

  def shell_output(command)
    output = `#{command}`
    raise "#{command}: ended with #{$CHILD_STATUS&.exitstatus || $?.exitstatus}" unless $?.success?

    puts "$ #{command}", output
    output
  end

  def assert_match(wanted, text)
    raise "#{wanted.inspect} is not in #{text.inspect}" unless text.include?(wanted.to_s)
  end

  def assert_path_exists(path)
    raise "#{path} is not there" unless Pathname(path).exist?
  end
end

file, *places = ARGV
load file
if places.empty?
  staged = Lfm.new({ pkgshare: Struct.new(:calls) { def install(what) = calls << what }.new([]) })
  staged.install
  service = Notes.new(staged)
  service.instance_exec(&Lfm.bodies.fetch(:service))
  puts JSON.generate(
    **Lfm.said, version: staged.version, calls: staged.calls, shared: staged.pkgshare.calls,
    caveats: staged.caveats, service: service.taken.transform_values { |value| value }
  )
else
  names = %i[bin pkgshare man1 testpath]
  staged = Lfm.new(names.zip(places.map { |place| Pathname(place) }).to_h)
  Dir.chdir(staged.testpath) { staged.instance_exec(&Lfm.bodies.fetch(:test)) }
end
